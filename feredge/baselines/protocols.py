"""The protocols of the studies: which images a system was fitted to, and which it was tested on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import NO_LABEL, Dataset
from feredge.data.selection import select
from feredge.data.usage import TEST_USAGES, TRAINING_USAGES
from feredge.errors import DataError
from feredge.inference.contract import CLASSES
from feredge.recipes.schema import DataView

SIX_CLASSES = tuple(name for name in CLASSES if name != "disgust")
PER_CLASS = 3000
Index = NDArray[np.int64]


@dataclass(frozen=True)
class View:
    """A data set as a study cut it.

    Attributes:
        train: fitted to.
        test: the published figure's.
        held_out: of a further figure, where the study has one.
        deviation: how this is not the study's protocol; empty where it is.
    """

    train: Dataset
    test: Dataset
    held_out: Dataset | None = None
    deviation: str = ""


def study_2022(dataset: Dataset) -> View:
    """The Training rows at random in 70 / 15 / 15: 70 first, then the rest halved, seed 1 both times."""
    from sklearn.model_selection import train_test_split

    index = _rows(dataset, TRAINING_USAGES)
    train, rest = train_test_split(index, train_size=0.7, random_state=1)
    _, test = train_test_split(rest, test_size=0.5, random_state=1)
    return View(dataset.take(train), dataset.take(test), deviation=_other_size(index, 28709))


def six_class(dataset: Dataset) -> View:
    """Without disgust: the first 3,000 training images of each class; every image of the test splits."""
    dataset = select(dataset, DataView(classes=SIX_CLASSES, first=PER_CLASS))
    train, test = _rows(dataset, TRAINING_USAGES), _rows(dataset, TEST_USAGES)
    notes = (_other_size(train, 18000), _other_size(test, 7067, "tested on"))
    return View(dataset.take(train), dataset.take(test), deviation="; ".join(filter(None, notes)))


def course_2024(dataset: Dataset) -> View:
    """The Training rows at random in 80 / 20, seed 42; held out is PublicTest.

    The study's held-out labels are not public: it read its figure from the competition's score.
    """
    from sklearn.model_selection import train_test_split

    index = _rows(dataset, TRAINING_USAGES)
    train, test = train_test_split(index, test_size=0.2, random_state=42)
    held_out = np.flatnonzero((dataset.usage == "PublicTest") & (dataset.labels != NO_LABEL))
    notes = (_other_size(index, 28709), "held out is PublicTest" if len(held_out) else "nothing held out")
    return View(
        dataset.take(train),
        dataset.take(test),
        dataset.take(held_out) if len(held_out) else None,
        "; ".join(filter(None, notes)),
    )


STUDIES: dict[str, Callable[[Dataset], View]] = {
    "study-2022": study_2022,
    "six-class-2025": six_class,
    "course-2024": course_2024,
}


def _rows(dataset: Dataset, usages: tuple[str, ...]) -> Index:
    """Return the labelled rows of these splits."""
    index = np.flatnonzero(np.isin(dataset.usage, usages) & (dataset.labels != NO_LABEL))
    if len(index) < 20:
        name = " or ".join(filter(None, usages))
        raise DataError(f"{dataset.source}: expected labelled images in {name}, found {len(index)}")
    return index


def _other_size(index: Index, published: int, verb: str = "cut from") -> str:
    return "" if len(index) == published else f"{verb} {len(index):,} images, published with {published:,}"
