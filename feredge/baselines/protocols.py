"""Protocols of the published studies: the images that a baseline is fitted to and tested on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from feredge.data.dataset import NO_LABEL, Dataset, RowIndex
from feredge.data.selection import select
from feredge.data.split_names import TEST_SPLITS, TRAINING_SPLITS
from feredge.errors import DataError
from feredge.inference.contract import CLASSES
from feredge.recipes.schema import DataView

SIX_CLASSES = tuple(name for name in CLASSES if name != "disgust")
IMAGES_PER_CLASS = 3000


@dataclass(frozen=True)
class StudySplits:
    """The splits of a study.

    Attributes:
        train: for fitting.
        test: for the published accuracy.
        held_out: for a second accuracy, if the study has one.
        deviation: differences from the study's protocol; empty if there are none.
    """

    train: Dataset
    test: Dataset
    held_out: Dataset | None = None
    deviation: str = ""


def study_2022(dataset: Dataset) -> StudySplits:
    """Split the Training rows at random into 70 / 15 / 15: 70 first, then the rest in halves, both with seed 1."""
    from sklearn.model_selection import train_test_split

    index = _rows(dataset, TRAINING_SPLITS)
    train, rest = train_test_split(index, train_size=0.7, random_state=1)
    _, test = train_test_split(rest, test_size=0.5, random_state=1)
    return StudySplits(dataset.take(train), dataset.take(test), deviation=_other_size(index, 28709))


def six_class(dataset: Dataset) -> StudySplits:
    """Take the first 3,000 training images of each class but disgust, and all images of the test splits."""
    dataset = select(dataset, DataView(classes=SIX_CLASSES, limit_per_class=IMAGES_PER_CLASS))
    train, test = _rows(dataset, TRAINING_SPLITS), _rows(dataset, TEST_SPLITS)
    deviations = (_other_size(train, 18000), _other_size(test, 7067, "tested on"))
    return StudySplits(dataset.take(train), dataset.take(test), deviation="; ".join(filter(None, deviations)))


def course_2024(dataset: Dataset) -> StudySplits:
    """Split the Training rows at random into 80 / 20 with seed 42; PublicTest is held out.

    The study's held-out labels are not public: its figure is the competition's score.
    """
    from sklearn.model_selection import train_test_split

    index = _rows(dataset, TRAINING_SPLITS)
    train, test = train_test_split(index, test_size=0.2, random_state=42)
    held_out = np.flatnonzero((dataset.usage == "PublicTest") & (dataset.labels != NO_LABEL))
    deviations = (_other_size(index, 28709), "held out is PublicTest" if len(held_out) else "nothing held out")
    return StudySplits(
        dataset.take(train),
        dataset.take(test),
        dataset.take(held_out) if len(held_out) else None,
        "; ".join(filter(None, deviations)),
    )


STUDY_PROTOCOLS: dict[str, Callable[[Dataset], StudySplits]] = {
    "study-2022": study_2022,
    "six-class-2025": six_class,
    "course-2024": course_2024,
}


def _rows(dataset: Dataset, usages: tuple[str, ...]) -> RowIndex:
    """Return the labelled rows of these usages."""
    index = np.flatnonzero(np.isin(dataset.usage, usages) & (dataset.labels != NO_LABEL))
    if len(index) < 20:
        name = " or ".join(filter(None, usages))
        raise DataError(f"{dataset.source}: expected labelled images in {name}, found {len(index)}")
    return index


def _other_size(index: RowIndex, published: int, verb: str = "cut from") -> str:
    return "" if len(index) == published else f"{verb} {len(index):,} images, published with {published:,}"
