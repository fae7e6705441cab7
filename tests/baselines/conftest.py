"""Every baseline, fitted once to a few drawn faces."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skl2onnx")

import feredge.baselines as baselines
from feredge.data import drawn, split
from feredge.data.dataset import Splits
from feredge.recipes.schema import DataView


@pytest.fixture(scope="session")
def splits() -> Splits:
    """168 drawn faces to fit to: the fewest that 100 principal components and five folds can use."""
    return split(drawn(210), DataView())


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the fitted baselines lie."""
    return tmp_path_factory.mktemp("baselines")


@pytest.fixture(scope="session")
def fitted(splits: Splits, cache: Path) -> dict[str, baselines.FittedBaseline]:
    """Every system, by its id."""
    return {
        baseline.id: baseline
        for baseline in baselines.fit([baseline.id for baseline in baselines.BASELINES], splits, cache=cache)
    }
