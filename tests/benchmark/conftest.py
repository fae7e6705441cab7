"""Fixtures of the benchmark's tests."""

from __future__ import annotations

import pytest
from toy_workshop import SMALL, Workshop, build

from feredge.benchmark import harness
from feredge.benchmark.results import Effort


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Drawn faces, a linear float model, and real ONNX files made from its weights."""
    return build(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def small() -> Effort:
    """An effort of well under a second."""
    return SMALL


@pytest.fixture(autouse=True)
def known_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine's peak takes two seconds to measure; test_peak.py does, once."""
    monkeypatch.setattr(harness, "peaks", lambda: {"float32": 4e10, "int8": 1e11})
