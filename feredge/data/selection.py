"""Select, group and balance classes, as a recipe says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from feredge.data.dataset import NO_LABEL, Dataset
from feredge.data.usage import TRAINING
from feredge.errors import DataError
from feredge.recipe import DataView


def select(dataset: Dataset, view: DataView) -> Dataset:
    """Return the images of the classes that `view` keeps, labelled by its classes, and of the training images of
    each class the first `view.first` in the data set's order. A view without choices gives `dataset` itself.

    Raises:
        DataError: a class that the data set has no image of.
    """
    if view.groups:
        dataset = _regroup(dataset, view.groups)
    if view.first:
        dataset = dataset.take(_first(dataset, view.first))
    return dataset


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
