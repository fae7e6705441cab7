"""A finished run, shared by tests of its files."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_training import RECIPE, stripes

from feredge.run import RunFolder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a finished run of RECIPE on `stripes()`; tests that change its files copy it first."""
    from feredge.train import train

    folder: Path = tmp_path_factory.mktemp("train") / "run"
    return train(RECIPE, stripes(), folder)
