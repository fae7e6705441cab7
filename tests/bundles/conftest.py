"""A bundle of `models/nano`, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from feredge.bundles.targets import bundle

NANO = Path(__file__).parents[2] / "models/nano"


@pytest.fixture(scope="session")
def nano_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle for microcontrollers; do not change it."""
    return bundle("mcu", NANO, tmp_path_factory.mktemp("bundles") / "nano")
