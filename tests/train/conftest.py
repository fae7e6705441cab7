"""One finished training, shared by the tests that look at what it left."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_training import RECIPE, stripes

from feredge.run import RunFolder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Give a finished run of RECIPE on `stripes()`; tests that change files in it copy it first."""
    from feredge.train import train

    folder: Path = tmp_path_factory.mktemp("train") / "run"
    return train(RECIPE, stripes(), folder)
