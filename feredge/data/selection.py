"""Select, group and balance classes, as a recipe says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from feredge.data.dataset import NO_LABEL, Dataset
from feredge.data.folders import FER2013_NAMES
from feredge.data.usage import TRAINING
from feredge.errors import DataError
from feredge.inference.contract import CLASSES
from feredge.recipes.schema import DataView


def select(dataset: Dataset, view: DataView) -> Dataset:
    """Return the images of the classes that `view` keeps, labelled by its classes, and of the training images of
    each class the first `view.first` in the data set's order. A view without choices gives `dataset` itself.

    Raises:
        DataError: a class that the data set has no image of.
    """
    if view.class_names == "fer2013":
        dataset = fer2013_classes(dataset)
    if view.groups:
        dataset = _regroup(dataset, view.groups)
    if view.first:
        dataset = dataset.take(_first(dataset, view.first))
    return dataset


def fer2013_classes(dataset: Dataset) -> Dataset:
    """Return `dataset` with its classes called as FER2013 calls them, in FER2013's order, those that are there.

    Classes may be called by FER2013's numbers, 0 (angry) to 6 (neutral), or by other usual names (anger, happiness).

    Raises:
        DataError: a class that is none of FER2013's, such as contempt.
    """
    numbers = {str(label): name for label, name in enumerate(CLASSES)}
    names = [FER2013_NAMES.get(name.strip().lower()) or numbers.get(name.strip()) for name in dataset.classes]
    for name, known in zip(dataset.classes, names, strict=True):
        if known is None:
            raise DataError(
                f"{dataset.source}: expected classes of FER2013 (0 to 6, or {', '.join(CLASSES)}), found {name!r}; "
                f"data.classes leaves classes out"
            )
    classes = tuple(name for name in CLASSES if name in names)
    labels = np.array([*(classes.index(str(name)) for name in names), NO_LABEL], np.int8)  # NO_LABEL is the last
    return replace(dataset, labels=labels[dataset.labels], classes=classes)


def _regroup(dataset: Dataset, groups: dict[str, tuple[str, ...]]) -> Dataset:
    named = np.array([*dataset.classes, ""])[dataset.labels]  # NO_LABEL is the last
    labels = np.full(len(dataset), NO_LABEL, np.int8)
    for label, parts in enumerate(groups.values()):
        for part in parts:
            if part not in named:
                known = [name for name in dataset.classes if name in named]
                raise DataError(
                    f"{dataset.source}: expected images of the class {part!r}, found {', '.join(known) or 'none'}"
                )
            labels[named == part] = label
    return replace(dataset, labels=labels, classes=tuple(groups)).take(labels != NO_LABEL)


def _first(dataset: Dataset, count: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    kept = ~np.isin(dataset.usage, TRAINING)
    for label in range(len(dataset.classes)):
        kept[np.flatnonzero(~kept & (dataset.labels == label))[:count]] = True
    return kept
