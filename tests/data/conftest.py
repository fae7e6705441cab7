"""Small data sets, and a part of the real one where it is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a cache folder of its own instead of the user's; return its path."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FEREDGE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def real_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the first 60 rows of FER2013's Training and PublicTest, as csv, votes and folders."""
    place = Path(os.environ.get("FEREDGE_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    unpack = place / "unpack_fer2013.py"
    if not unpack.is_file():
        pytest.skip(f"no real data: {unpack} is missing; set FEREDGE_DATA")
    out = tmp_path_factory.mktemp("fer2013")
    subprocess.run([sys.executable, str(unpack), str(out), "--rows", "60"], check=True, stdout=subprocess.DEVNULL)
    return out
