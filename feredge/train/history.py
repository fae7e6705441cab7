"""The training history: one row per epoch, as an array, in the checkpoint and as csv."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge import files

HISTORY_COLUMNS = (
    "epoch",
    "rate",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "seconds",
    "images_per_second",
)
"""`rate` is the epoch's last learning rate. Training metrics are of augmented images while the weights change;
validation metrics are of the averaged weights after the epoch, NaN (an empty field) without validation images.
`seconds` and `images_per_second` are of the steps, validation excluded; only they differ between two runs of one
recipe."""

History = NDArray[np.float64]


def empty() -> History:
    """Return a history without rows, `float64 (0, columns)`."""
    return np.empty((0, len(HISTORY_COLUMNS)))


def column(history: History, name: str) -> NDArray[np.float64]:
    """Return one column by its name."""
    return history[:, HISTORY_COLUMNS.index(name)]


def columns(history: History) -> dict[str, NDArray[np.float64]]:
    """Return all columns by their names."""
    return dict(zip(HISTORY_COLUMNS, history.T, strict=True))


def write_csv(path: Path, history: History) -> None:
    """Write the history as csv, six significant digits."""
    rows = [",".join("" if math.isnan(value) else f"{value:.6g}" for value in row) for row in history]
    files.write_text(path, "\n".join([",".join(HISTORY_COLUMNS), *rows]) + "\n")
