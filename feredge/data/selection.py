"""Select, merge and limit the classes of a data set by the data settings of a recipe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from feredge.data.dataset import NO_LABEL, Dataset, RowMask
from feredge.data.folders import FER2013_CLASS_ALIASES
from feredge.data.split_names import TRAINING_SPLITS
from feredge.errors import DataError
from feredge.inference.contract import CLASSES
from feredge.recipes.schema import DataView


def select(dataset: Dataset, view: DataView) -> Dataset:
    """Return the images of the selected classes, labelled by these, with at most `view.limit_per_class` training images
    of each, the first in the data set's order. Settings without a selection return `dataset` itself.

    Args:
        dataset: the data set.
        view: `class_names`, `classes` and `limit_per_class` are used.

    Raises:
        DataError: a class without images in the data set.
    """
    if view.class_names == "fer2013":
        dataset = fer2013_classes(dataset)
    if view.groups:
        dataset = _regroup(dataset, view.groups)
    if view.limit_per_class:
        dataset = dataset.take(_limit_per_class(dataset, view.limit_per_class))
    return dataset


def fer2013_classes(dataset: Dataset) -> Dataset:
    """Return `dataset` with its classes renamed to FER2013's and put in FER2013's order.

    Accepted are FER2013's label numbers, 0 (angry) to 6 (neutral), and other usual names (anger, happiness).

    Raises:
        DataError: a class that FER2013 does not have, such as contempt.
    """
    numbers = {str(label): name for label, name in enumerate(CLASSES)}
    names = [FER2013_CLASS_ALIASES.get(name.strip().lower()) or numbers.get(name.strip()) for name in dataset.classes]
    for name, fer2013_name in zip(dataset.classes, names, strict=True):
        if fer2013_name is None:
            raise DataError(
                f"{dataset.source}: expected classes of FER2013 (0 to 6, or {', '.join(CLASSES)}), found {name!r}; "
                f'drop it by data.classes, such as classes = ["happy", "sad"]'
            )
    classes = tuple(name for name in CLASSES if name in names)
    labels = np.array([*(classes.index(str(name)) for name in names), NO_LABEL], np.int8)  # NO_LABEL, -1, is the last
    return replace(dataset, labels=labels[dataset.labels], classes=classes)


def _regroup(dataset: Dataset, groups: dict[str, tuple[str, ...]]) -> Dataset:
    class_names = np.array([*dataset.classes, ""])[dataset.labels]  # NO_LABEL, -1, is the last
    labels = np.full(len(dataset), NO_LABEL, np.int8)
    for label, members in enumerate(groups.values()):
        for member in members:
            if member not in class_names:
                present = [name for name in dataset.classes if name in class_names]
                raise DataError(
                    f"{dataset.source}: expected images of the class {member!r}, found {', '.join(present) or 'none'}"
                )
            labels[class_names == member] = label
    return replace(dataset, labels=labels, classes=tuple(groups)).take(labels != NO_LABEL)


def _limit_per_class(dataset: Dataset, limit: int) -> RowMask:
    """Return the first `limit` training images of each class, and all images of other splits."""
    selected = ~np.isin(dataset.usage, TRAINING_SPLITS)
    for label in range(len(dataset.classes)):
        selected[np.flatnonzero(~selected & (dataset.labels == label))[:limit]] = True
    return selected
