"""Which images an export may look at: those that set the ranges of int8, those that layers are chosen on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feredge import data
from feredge.data.dataset import Dataset, Splits
from feredge.data.duplicates import has_duplicate
from feredge.errors import DataError, RecipeError, RunError
from feredge.inference.contract import Images
from feredge.recipes.schema import DataView

FEWEST = 100  # images that a range should rest on


def choose(splits: Splits, count: int, *, seed: int, own: Dataset | None = None) -> tuple[Images, Images]:
    """Return up to `count` images of the training split, class by class, and as many others, `uint8 (N, H, W, 1)`.

    None of them shows a picture that stands in the test split, exactly or nearly. Two corner pixels of the first
    image are set to 0 and 255, so that the input is calibrated to exactly the range of pixels whatever the images
    hold. Where the images do not suffice for two sets of FEWEST, there are no others.

    Args:
        splits: of the run's data.
        count: at most so many.
        seed: of the choice.
        own: take these in place of the training split.

    Raises:
        DataError: no images, or images in `own` whose pictures also stand in the test split.
    """
    source = splits.train if own is None else own
    both = np.concatenate([source.images, splits.test.images])
    seen = has_duplicate(both, *np.split(np.arange(len(both)), [len(source)]))
    if own is not None and seen.any():
        raise DataError(
            f"{own.source}: expected calibration images that are not in the test split, "
            f"found {int(seen.sum())} that are, the first in row {int(own.rows[seen][0])}"
        )
    usable = source.take(~seen)
    # Images without labels are a class of their own: any will do to calibrate on.
    whole = usable if (usable.labels >= 0).any() else _labelled(usable)
    chosen = data.stratified_sample(whole, count, seed=seed)
    if not len(chosen):
        raise DataError(f"{source.source}: expected training images to calibrate on, found none")
    rest = whole.take(~np.isin(whole.rows, chosen.rows))
    others = data.stratified_sample(rest, len(chosen), seed=seed) if len(rest) >= FEWEST else rest.take(_nothing(rest))
    return _spanning(mixed(chosen, seed)), _spanning(mixed(others, seed))


def mixed(dataset: Dataset, seed: int) -> Images:
    """Return the images in random order: folders come class by class, and some look at the first ones only."""
    return dataset.batch[np.random.default_rng(seed).permutation(len(dataset))]


def to_choose_on(splits: Splits, view: DataView) -> Dataset:
    """Return the images that say which layers of an int8 file stay in float: the validation split.

    Raises:
        RecipeError: it is the test split.
        RunError: there are none.
    """
    if view.validation_is_test:
        raise RecipeError("expected images to choose layers on, found data.validation_is_test: the test may not choose")
    if not len(splits.validation):
        raise RunError(f"{splits.train.source}: expected validation images to choose layers on, found none")
    return splits.validation


def _labelled(dataset: Dataset) -> Dataset:
    from dataclasses import replace

    return replace(dataset, labels=np.zeros(len(dataset), np.int8))


def _nothing(dataset: Dataset) -> NDArray[np.bool_]:
    return np.zeros(len(dataset), np.bool_)


def _spanning(images: Images) -> Images:
    images = images.copy()
    if len(images):
        images[0, 0, 0], images[0, 0, 1] = 0, 255
    return images
