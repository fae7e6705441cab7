"""Counts of a data set, and the picture with a sample of each class."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from feredge.data import drawn, sample_grid, summarize, write_sample_grid
from feredge.data.dataset import NO_LABEL, Dataset
from feredge.data.summary import CAPTION_HEIGHT, TILE_SIDE
from feredge.errors import DataError


@pytest.fixture
def faces() -> Dataset:
    """Return 12 images of two classes in two splits; class b is missing from the test split, one has no label."""
    images = np.zeros((12, 48, 48), np.uint8) + np.arange(12, dtype=np.uint8)[:, None, None]
    labels = np.array([0] * 5 + [1] * 3 + [0] * 3 + [NO_LABEL], np.int8)
    usage = np.array(["Training"] * 8 + ["PublicTest"] * 4)
    return Dataset(images[..., None], labels, usage, np.arange(12), ("a", "b"), "f" * 64, "faces.csv", skipped=2)


def test_counts(faces: Dataset) -> None:
    """Guards the counts by split and class."""
    counts = summarize(faces)
    assert counts.counts == {"Training": {"a": 5, "b": 3}, "PublicTest": {"a": 3, "b": 0}}
    assert counts.unlabelled == {"Training": 0, "PublicTest": 1}
    assert json.loads(json.dumps(counts.to_json()))["skipped"] == 2
    assert counts.to_text().splitlines() == [
        "faces.csv: 12 images of 48 x 48",
        "SHA-256 " + "f" * 64,
        "2 bad rows skipped",
    ]
    assert counts.to_table() == (
        ["class", "Training", "PublicTest"],
        [["a", "5", "3"], ["b", "3", "0"], ["unlabelled", "0", "1"], ["all", "8", "4"]],
    )


def test_picture(faces: Dataset) -> None:
    """Guards one face a class: the first of its class, a name below, and room for classes without any."""
    picture = sample_grid(faces)
    assert picture.dtype == np.uint8 and picture.shape == (TILE_SIDE + CAPTION_HEIGHT, 2 * TILE_SIDE, 1)
    assert (picture[:TILE_SIDE, :TILE_SIDE] == 0).all() and (picture[:TILE_SIDE, TILE_SIDE:] == 5).all()
    assert picture[TILE_SIDE:, :TILE_SIDE].min() < 128 < picture[TILE_SIDE:, :TILE_SIDE].max()
    empty = sample_grid(faces.take(faces.labels == 1))
    assert (empty[:TILE_SIDE, :TILE_SIDE] == 255).all() and empty[TILE_SIDE:, :TILE_SIDE].min() < 128
    nine_classes = Dataset(**{**vars(faces), "classes": tuple(f"a long name of class {n}" for n in range(9))})
    assert sample_grid(nine_classes).shape == (2 * (TILE_SIDE + CAPTION_HEIGHT), 7 * TILE_SIDE, 1)


def test_writing(faces: Dataset, tmp_path: Path) -> None:
    """Guards the file: what is read back is the picture, and a suffix of no picture leaves nothing behind."""
    write_sample_grid(drawn(70), tmp_path / "faces.png")
    decoded = cv2.imread(str(tmp_path / "faces.png"), cv2.IMREAD_GRAYSCALE)
    assert decoded is not None and (decoded == sample_grid(drawn(70))[:, :, 0]).all()
    for name in ("faces", "faces.doc"):
        with pytest.raises(DataError, match="expected a picture's suffix"):
            write_sample_grid(faces, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.png"]
