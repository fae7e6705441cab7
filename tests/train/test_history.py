"""History and pictures: csv that spreadsheets read, PNG files that can be looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tiny_training import stripes

from feredge.train import history, pictures

ROWS = np.array([[1, 0.1, 1.9, 0.2, np.nan, np.nan, 3, 100], [2, 0.05, 1.5, 1 / 3, np.nan, np.nan, 3, 100]])


def test_csv_leaves_what_was_not_measured_empty(tmp_path: Path) -> None:
    """Guards against `nan` in a spreadsheet's number column."""
    history.write_csv(tmp_path / "h.csv", ROWS)
    header, first, second = (tmp_path / "h.csv").read_text().splitlines()
    assert header.split(",") == list(history.COLUMNS)
    assert first == "1,0.1,1.9,0.2,,,3,100"
    assert second.split(",")[3] == "0.333333"


def test_pictures_have_something_on_them(tmp_path: Path) -> None:
    """Guards against blank pictures, and against a crash where validation or a class is missing."""
    import cv2

    split = stripes(70)
    split = split.take(split.labels != 3)
    pictures.curves(tmp_path / "curves.png", ROWS)
    pictures.confusion(tmp_path / "confusion.png", split, np.zeros(len(split), np.int64))
    for name in ("curves.png", "confusion.png"):
        pixels = cv2.imread(str(tmp_path / name))
        assert min(pixels.shape[:2]) > 300 and len(np.unique(pixels)) > 20


def test_no_test_images_no_matrix(tmp_path: Path) -> None:
    """Guards an empty test split: no picture instead of a division by zero."""
    pictures.confusion(tmp_path / "c.png", stripes().take(np.zeros(0, np.int64)), np.zeros(0, np.int64))
    assert not list(tmp_path.iterdir())
