"""A data set in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from feredge.inference.contract import Images

NO_LABEL = -1


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled pictures, one row each.

    Attributes:
        images: `uint8 (N, H, W)`, gray.
        labels: `int8 (N,)`, index into `classes`; NO_LABEL where the source has none.
        usage: `str (N,)`, the split as the source names it: Training, PublicTest, PrivateTest, train, test,
            validation; empty where the source has none.
        rows: `int64 (N,)`, 0-based data row of the csv, or position in the sorted list of the folder's files.
        classes: class names.
        digest: SHA-256 of the source: the csv's bytes; the folder's file names and bytes.
        source: the path it was read from, as given.
        votes: `uint8 (N, 10)`, FER+ votes, where they were asked for.
        skipped: bad rows that were left out because the caller said so.
        left_out: files of a folder that are no pictures, and links that lead back, counted by suffix or kind.
        held_back: `int64 (M,)`, which of `rows` neither train nor choose: pictures of a test set that is elsewhere.
    """

    images: Images
    labels: NDArray[np.int8]
    usage: NDArray[np.str_]
    rows: NDArray[np.int64]
    classes: tuple[str, ...]
    digest: str
    source: str
    votes: NDArray[np.uint8] | None = None
    skipped: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    held_back: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Dataset:
        """Return the rows that `index` picks, in its order."""
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            usage=self.usage[index],
            rows=self.rows[index],
            votes=None if self.votes is None else self.votes[index],
        )

    @property
    def batch(self) -> Images:
        """The images as networks take them, `uint8 (N, H, W, 1)`."""
        return self.images[..., None]


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set cut in three. Calibration images come from `train`, choices are made on `validation`.

    Attributes:
        dropped: training images left out because they also stand in another split, or in a test set elsewhere.
        dropped_validation: validation images left out because they also stand in `test`.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    dropped: int
    dropped_validation: int = 0

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the images of each class in `train`, `validation` and `test`."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {
            name: dict(zip(part.classes, np.bincount(part.labels, minlength=len(part.classes)).tolist(), strict=True))
            for name, part in parts.items()
        }
