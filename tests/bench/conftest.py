"""Fixtures of the benchmark's tests."""

from __future__ import annotations

import pytest
from toy_workshop import SMALL, Workshop, build

from feredge.bench.results import Effort


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Drawn faces, a linear float model, and real ONNX files made from its weights."""
    return build(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def small() -> Effort:
    """An effort of well under a second."""
    return SMALL
