"""`info` and the picture of one face a class."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from feredge.data import drawn, info, one_of_each, write_one_of_each
from feredge.data.dataset import NO_LABEL, Dataset
from feredge.data.summary import CAPTION, TILE
from feredge.errors import DataError


@pytest.fixture
def faces() -> Dataset:
    """Return 12 images of two classes in two splits; class b is missing from the test split, one has no label."""
    images = np.zeros((12, 48, 48), np.uint8) + np.arange(12, dtype=np.uint8)[:, None, None]
    labels = np.array([0] * 5 + [1] * 3 + [0] * 3 + [NO_LABEL], np.int8)
    usage = np.array(["Training"] * 8 + ["PublicTest"] * 4)
    return Dataset(images, labels, usage, np.arange(12), ("a", "b"), "f" * 64, "faces.csv", skipped=2)


def test_counts(faces: Dataset) -> None:
    """Guards the counts by split and class."""
    found = info(faces)
    assert found.counts == {"Training": {"a": 5, "b": 3}, "PublicTest": {"a": 3, "b": 0}}
    assert found.unlabelled == {"Training": 0, "PublicTest": 1}
    assert json.loads(json.dumps(found.to_json()))["skipped"] == 2
    assert found.to_text().splitlines() == [
        "faces.csv: 12 images of 48 x 48",
        "SHA-256 " + "f" * 64,
        "2 bad rows skipped",
        "            Training  PublicTest",
        "a                  5           3",
        "b                  3           0",
        "unlabelled         0           1",
        "all                8           4",
    ]


def test_picture(faces: Dataset) -> None:
    """Guards one face a class: the first of its class, a name below, and room for classes without any."""
    picture = one_of_each(faces)
    assert picture.dtype == np.uint8 and picture.shape == (TILE + CAPTION, 2 * TILE)
    assert (picture[:TILE, :TILE] == 0).all() and (picture[:TILE, TILE:] == 5).all()
    assert picture[TILE:, :TILE].min() < 128 < picture[TILE:, :TILE].max()
    empty = one_of_each(faces.take(faces.labels == 1))
    assert (empty[:TILE, :TILE] == 255).all() and empty[TILE:, :TILE].min() < 128
    many = Dataset(**{**vars(faces), "classes": tuple(f"a long name of class {n}" for n in range(9))})
    assert one_of_each(many).shape == (2 * (TILE + CAPTION), 7 * TILE)


def test_writing(faces: Dataset, tmp_path: Path) -> None:
    """Guards the file: what is read back is the picture, and a suffix of no picture leaves nothing behind."""
    write_one_of_each(drawn(70), tmp_path / "faces.png")
    back = cv2.imread(str(tmp_path / "faces.png"), cv2.IMREAD_GRAYSCALE)
    assert back is not None and (back == one_of_each(drawn(70))).all()
    for name in ("faces", "faces.doc"):
        with pytest.raises(DataError, match="expected a picture's suffix"):
            write_one_of_each(faces, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.png"]
