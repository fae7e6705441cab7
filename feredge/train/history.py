"""The history of a training: one row an epoch, in memory, in the checkpoint and as csv."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge import files

COLUMNS = (
    "epoch",
    "rate",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "seconds",
    "images_per_second",
)
"""`rate` is the epoch's last; training figures are of augmented images while weights move, validation figures of
the averaged weights after the epoch, NaN (an empty field) without validation images. The last two say what this
machine took for the steps, validation apart: two runs of one recipe differ in nothing else."""

History = NDArray[np.float64]


def empty() -> History:
    """Return a history without rows, `float64 (0, columns)`."""
    return np.empty((0, len(COLUMNS)))


def column(history: History, name: str) -> NDArray[np.float64]:
    """Return one column by its name."""
    return history[:, COLUMNS.index(name)]


def columns(history: History) -> dict[str, NDArray[np.float64]]:
    """Return all columns by their names."""
    return dict(zip(COLUMNS, history.T, strict=True))


def write_csv(path: Path, history: History) -> None:
    """Write the history for people and spreadsheets."""
    rows = [",".join("" if math.isnan(value) else f"{value:.6g}" for value in row) for row in history]
    files.write_text(path, "\n".join([",".join(COLUMNS), *rows]) + "\n")
