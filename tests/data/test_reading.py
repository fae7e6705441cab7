"""`load`: every kind of source, and the same images for all editions of FER2013."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from feredge.data import load
from feredge.data.dataset import Dataset
from feredge.errors import DataError
from feredge.inference.contract import CLASSES, InputContract


def write_csv(path: Path, count: int = 4) -> Path:
    """Write a csv of `count` flat images, the n-th of value n."""
    rows = (f"{row % 7},{' '.join([str(row)] * 2304)},Training" for row in range(count))
    path.write_text("\n".join(["emotion,pixels,Usage", *rows]))
    return path


def counted(dataset: Dataset) -> list[tuple[bytes, int]]:
    """Return images and labels in an order of their own."""
    return sorted((image.tobytes(), int(label)) for image, label in zip(dataset.images, dataset.labels, strict=True))


def test_csv(tmp_path: Path) -> None:
    """Guards what all callers rely on: shapes, dtypes, classes, digest."""
    dataset = load(str(write_csv(tmp_path / "faces.csv")))
    assert dataset.images.dtype == np.uint8 and dataset.images.shape == (4, 48, 48, 1)
    assert dataset.labels.dtype == np.int8 and dataset.labels.tolist() == [0, 1, 2, 3]
    assert dataset.rows.dtype == np.int64 and dataset.rows.tolist() == [0, 1, 2, 3]
    assert dataset.classes == CLASSES
    assert dataset.source == str(tmp_path / "faces.csv")
    assert dataset.skipped == 0 and dataset.votes is None
    assert (dataset.images[:, 0, 0, 0] == [0, 1, 2, 3]).all()


def test_other_sizes_come_through_the_contract(tmp_path: Path) -> None:
    """Guards the preprocessing: data sets are resized by the same function as the Predictor's images."""
    path = write_csv(tmp_path / "faces.csv")
    small, native = load(path, size=32), load(path)
    assert small.images.shape == (4, 32, 32, 1)
    assert (small.images == InputContract(32, 32).to_batch(native.images)).all()
    assert load("drawn:70", size=24).images.shape == (70, 24, 24, 1)


def test_drawn() -> None:
    """Guards the source names of the built-in faces, and that a stored source loads the same data."""
    dataset = load("drawn:70")
    reloaded = load(dataset.source)
    assert len(dataset) == 70 and dataset.digest == reloaded.digest
    for malformed_source in ("drawn:", "drawn:many", "drawn:-7", "drawn:²"):
        with pytest.raises(DataError, match="expected drawn:N"):
            load(malformed_source)


def test_real_editions_agree(real_data: Path) -> None:
    """Guards the folder edition's classes and pixels: it must hold the csv's images under the csv's labels."""
    table, folders = load(real_data / "fer2013.csv"), load(real_data / "folders")
    assert folders.classes == CLASSES
    assert counted(table) == counted(folders)


def test_nothing_there(tmp_path: Path) -> None:
    """Guards the error for a mistyped path."""
    with pytest.raises(DataError, match=r"fer2013\.csv: expected a csv file, a folder or the word drawn"):
        load(tmp_path / "fer2013.csv")


def test_bad_rows_are_counted(tmp_path: Path) -> None:
    """Guards `--skip-bad-rows` with the cache: a cached table must not hide the malformed row."""
    path = write_csv(tmp_path / "faces.csv")
    path.write_text(path.read_text().replace("\n2,", "\n7,"))
    assert load(path, skip_bad_rows=True).skipped == 1
    with pytest.raises(DataError, match=r"row 3 \(line 4\)"):
        load(path)


def test_pointers_of_git_lfs_are_named(tmp_path: Path) -> None:
    """Guards the newcomer's clone without Git LFS: a message about a header, or about text in a picture."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 34\n"
    votes = tmp_path / "votes.csv"
    for path in (tmp_path / "faces.csv", votes, tmp_path / "pictures" / "cat" / "a.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pointer)
    for source in (tmp_path / "faces.csv", tmp_path / "pictures"):
        with pytest.raises(DataError, match="a pointer of Git LFS; `git lfs pull` downloads the file"):
            load(source)
    with pytest.raises(DataError, match="expected a csv of votes, found a pointer of Git LFS"):
        load(write_csv(tmp_path / "whole.csv"), votes=votes)
