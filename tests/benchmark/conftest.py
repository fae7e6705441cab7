"""Fixtures of the benchmark tests."""

from __future__ import annotations

import pytest
from toy_workshop import SMALL_CONFIG, Workshop, build

from feredge.benchmark import harness
from feredge.benchmark.config import BenchmarkConfig


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Drawn faces, a linear float model, and real ONNX files made from its weights."""
    return build(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def small_config() -> BenchmarkConfig:
    """Settings with which a benchmark takes well under a second."""
    return SMALL_CONFIG


@pytest.fixture(autouse=True)
def constant_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine's peak takes two seconds to measure; test_peak.py does, once."""
    monkeypatch.setattr(harness, "measure_peaks", lambda: {"float32": 4e10, "int8": 1e11})
