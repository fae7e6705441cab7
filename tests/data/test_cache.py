"""The cache of parsed csv files: hits, damaged or foreign entries, and folders that cannot be written."""

from __future__ import annotations

import os
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feredge.data import cache, fer2013_csv, load, reading
from feredge.data.dataset import Dataset
from feredge.errors import RunError


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    """Return a csv of three rows."""
    path = tmp_path / "faces.csv"
    path.write_text("emotion,pixels\n" + "".join(f"{row},{' '.join([str(row)] * 2304)}\n" for row in range(3)))
    return path


def same(one: Dataset, other: Dataset) -> bool:
    """Return whether two data sets hold the same rows."""
    names = ("images", "labels", "usage", "rows")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_copy_is_used(csv_file: Path, private_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the point of the cache: the second load parses nothing and returns the same."""
    first = load(csv_file)
    assert [path.name for path in private_cache.iterdir()] == [f"{first.digest}.{cache.CACHE_VERSION}.npz"]
    assert private_cache.stat().st_mode & 0o077 == 0, "images of people must not be readable by others"
    monkeypatch.setattr(reading, "read_csv", None)
    cached = load(csv_file)
    assert same(first, cached) and cached.digest == first.digest and cached.skipped == 0


def test_other_content_is_another_copy(csv_file: Path) -> None:
    """Guards against a stale copy of a file that was edited in place."""
    assert load(csv_file).labels.tolist() == [0, 1, 2]
    csv_file.write_text(csv_file.read_text().replace("\n0,", "\n6,"))
    assert load(csv_file).labels.tolist() == [6, 1, 2]


def test_without(csv_file: Path, private_cache: Path) -> None:
    """Guards `cache=False`."""
    load(csv_file, cache=False)
    assert not private_cache.exists()


def test_damaged_copy_is_remade(csv_file: Path, private_cache: Path) -> None:
    """Guards against wrong images, or a traceback, from a copy with a flipped byte, cut short, or emptied."""
    first = load(csv_file)
    (copy,) = private_cache.iterdir()
    whole = copy.read_bytes()
    chance = random.Random(1)
    damaged = [b"", whole[:100], whole[:-1], b"PK\x03\x04" + bytes(200)]
    for _ in range(60):
        at = chance.randrange(len(whole))
        damaged.append(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
    for content in damaged:
        copy.write_bytes(content)
        assert same(load(csv_file), first)
        assert cache.fetch(first.digest) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"images": np.zeros((3, 48, 47), np.uint8)},
        {"labels": np.array([0, 1, 9], np.int8)},
        {"labels": np.array([0, 1], np.int8)},
        {"rows": np.arange(3, dtype=np.float64)},
        {"usage": np.array([b"", b"", b""])},
    ],
)
def test_copy_of_another_shape_is_refused(csv_file: Path, private_cache: Path, change: dict[str, np.ndarray]) -> None:
    """Guards against an archive that is whole but was written by something else."""
    first = load(csv_file)
    (copy,) = private_cache.iterdir()
    arrays = {"images": first.images, "labels": first.labels, "usage": first.usage, "rows": first.rows}
    contents: dict[str, Any] = {**arrays, **change}
    np.savez(copy, **contents)
    assert cache.fetch(first.digest) is None
    assert same(load(csv_file), first)


def test_copy_whose_member_is_no_array_is_remade(csv_file: Path, private_cache: Path) -> None:
    """Guards against what numpy gives for a member without its magic: bytes, which have neither shape nor type."""
    first = load(csv_file)
    (copy,) = private_cache.iterdir()
    with zipfile.ZipFile(copy) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for broken in members:
        with zipfile.ZipFile(copy, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data[1:] if name == broken else data)
        assert cache.fetch(first.digest) is None
    assert same(load(csv_file), first)


def test_copy_is_private(csv_file: Path, private_cache: Path) -> None:
    """Guards pictures of people; a copy that others may have read or changed, or a link to one, is made anew."""
    first = load(csv_file)
    (copy,) = private_cache.iterdir()
    assert copy.stat().st_mode & 0o777 == 0o600
    copy.chmod(0o644)
    assert cache.fetch(first.digest) is None
    load(csv_file)
    assert copy.stat().st_mode & 0o777 == 0o600
    copy.rename(private_cache / "elsewhere")
    copy.symlink_to(private_cache / "elsewhere")
    assert cache.fetch(first.digest) is None


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o1777])
def test_folder_that_others_may_open(csv_file: Path, private_cache: Path, mode: int) -> None:
    """Guards against images that another user put there, and against letting others read ours."""
    private_cache.mkdir()
    private_cache.chmod(mode)
    with pytest.raises(RunError, match=rf"mode 700, found mode {mode:03o}"):
        load(csv_file)
    assert not list(private_cache.iterdir())
    assert load(csv_file, cache=False).labels.tolist() == [0, 1, 2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user(csv_file: Path, private_cache: Path) -> None:
    """Guards root, whom no mode keeps out of another user's folder."""
    private_cache.mkdir(mode=0o700)
    os.chown(private_cache, 12345, 12345)
    with pytest.raises(RunError, match="another user's"):
        load(csv_file)


def test_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards where copies go: FEREDGE_CACHE, then XDG_CACHE_HOME if absolute (its standard), then the home folder."""
    assert cache.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("FEREDGE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "feredge"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache.cache_folder() == tmp_path / ".cache" / "feredge"


def test_no_place_to_write(csv_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against failing where the cache cannot be created: here a file has its path."""
    monkeypatch.setenv("FEREDGE_CACHE", str(csv_file / "cache"))
    assert load(csv_file).labels.tolist() == [0, 1, 2]


def test_bad_rows_are_not_kept(csv_file: Path, private_cache: Path) -> None:
    """Guards against a copy that would hide bad rows from a later, stricter load."""
    csv_file.write_text(csv_file.read_text().replace("\n0,", "\n7,"))
    assert fer2013_csv.read_csv(csv_file, skip_bad_rows=True).total == 3
    load(csv_file, skip_bad_rows=True)
    assert not private_cache.exists()
