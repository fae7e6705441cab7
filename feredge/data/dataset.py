"""The in-memory data set, and its train, validation and test splits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from feredge.data.source_pictures import SourcePictures
from feredge.inference.contract import Images

NO_LABEL = -1

RowIndex = NDArray[np.int64]
"""Indices of images in an array or a Dataset."""
RowMask = NDArray[np.bool_]
"""One truth value for each image of an array or a Dataset."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images.

    Attributes:
        images: `uint8 (N, H, W, C)`, gray or RGB.
        labels: `int8 (N,)`, index into `classes`; NO_LABEL where the source has none.
        usage: `str (N,)`, the source's name of the split: Training, PublicTest, PrivateTest, train, test,
            validation; empty where the source has none.
        rows: `int64 (N,)`, 0-based data row of the csv, or position in the sorted list of the folder's files.
        classes: class names.
        digest: SHA-256 of the source: the csv's bytes; the folder's file names and bytes.
        source: the path it was read from, as passed to `load`.
        votes: `uint8 (N, 10)`, FER+ votes, if loaded.
        skipped: malformed rows or unreadable pictures that were skipped on request.
        ignored_files: files of a folder that are not pictures, and circular links, counted by suffix or kind.
        excluded_rows: `int64 (M,)`, those of `rows` excluded from training and validation, because an external test
            set has the same picture.
        pictures: the source's pictures before their conversion to `images`; None where unknown.
    """

    images: Images
    labels: NDArray[np.int8]
    usage: NDArray[np.str_]
    rows: RowIndex
    classes: tuple[str, ...]
    digest: str
    source: str
    votes: NDArray[np.uint8] | None = None
    skipped: int = 0
    ignored_files: dict[str, int] = field(default_factory=dict)
    excluded_rows: RowIndex | None = None
    pictures: SourcePictures | None = None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: RowIndex | RowMask) -> Dataset:
        """Return the images selected by `index`, in its order."""
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            usage=self.usage[index],
            rows=self.rows[index],
            votes=None if self.votes is None else self.votes[index],
        )


@dataclass(frozen=True, eq=False)
class Splits:
    """The train, validation and test splits of a data set. Calibration uses `train`, model selection `validation`.

    Attributes:
        dropped: training images dropped as duplicates of another split, or because of `Dataset.excluded_rows`.
        dropped_validation: validation images dropped as duplicates of `test`.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    dropped: int
    dropped_validation: int = 0

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of images of each class in `train`, `validation` and `test`."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {
            name: dict(zip(part.classes, np.bincount(part.labels, minlength=len(part.classes)).tolist(), strict=True))
            for name, part in parts.items()
        }
