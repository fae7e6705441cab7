"""Images of an export: for calibration, for verification, and for the choice of float32 layers and temperature."""

from __future__ import annotations

import dataclasses

import numpy as np

from feredge import data
from feredge.data.dataset import Dataset, Splits
from feredge.data.duplicates import has_duplicate
from feredge.data.validation import independent_validation, temperature_and_threshold_images
from feredge.errors import DataError, RecipeError, RunError
from feredge.inference.contract import Images
from feredge.recipes.schema import DataView, Recipe

MAX_VERIFICATION_IMAGES = 1024
MIN_VERIFICATION_IMAGES = 256
MIN_CALIBRATION_IMAGES = 100  # fewer give ranges that depend on the sample
MIN_TEMPERATURE_IMAGES = 100


def calibration_sets(
    splits: Splits, count: int, *, seed: int, calibrate_on: Dataset | None = None
) -> tuple[Images, Images]:
    """Return two disjoint stratified samples of up to `count` training images each, `uint8 (N, H, W, C)`.

    Neither holds an image that is, exactly or nearly, in the test split. Two corner pixels of the first image are
    set to 0 and 255, so that the input's range is that of all pixels whatever the images hold. The second sample is
    empty where fewer than MIN_CALIBRATION_IMAGES are left for it.

    Args:
        splits: of the run's data.
        count: most images of a sample.
        seed: of the samples.
        calibrate_on: sampled in place of the training split.

    Raises:
        DataError: no images, or images in `calibrate_on` that are also in the test split.
    """
    source = splits.train if calibrate_on is None else calibrate_on
    both = np.concatenate([source.images, splits.test.images])
    in_test = has_duplicate(both, *np.split(np.arange(len(both)), [len(source)]))
    if calibrate_on is not None and in_test.any():
        raise DataError(
            f"{source.source}: expected calibration images that are not in the test split, "
            f"found {int(in_test.sum())} that are, the first in row {int(source.rows[in_test][0])}"
        )
    usable = source.take(~in_test)
    if not (usable.labels >= 0).any():  # without labels, all images are one class
        usable = dataclasses.replace(usable, labels=np.zeros(len(usable), np.int8))
    first = data.stratified_sample(usable, count, seed=seed)
    if not len(first):
        raise DataError(f"{source.source}: expected training images to calibrate on, found none")
    rest = usable.take(~np.isin(usable.rows, first.rows))
    if len(rest) >= MIN_CALIBRATION_IMAGES:
        second = data.stratified_sample(rest, len(first), seed=seed)
    else:
        second = rest.take(np.zeros(len(rest), np.bool_))
    return _with_full_range(shuffled_images(first, seed)), _with_full_range(shuffled_images(second, seed))


def verification_images(splits: Splits, *, seed: int) -> Images:
    """Return validation images, and training images where the validation split is small."""
    images = shuffled_images(data.stratified_sample(splits.validation, MAX_VERIFICATION_IMAGES, seed=seed), seed)
    if len(images) < MIN_VERIFICATION_IMAGES:
        more = data.stratified_sample(splits.train, MIN_VERIFICATION_IMAGES - len(images), seed=seed + 1)
        images = np.concatenate([images, shuffled_images(more, seed)])
    return images


def shuffled_images(dataset: Dataset, seed: int) -> Images:
    """Return the images in random order: folders are read class by class, and some checks use the first images."""
    return dataset.images[np.random.default_rng(seed).permutation(len(dataset))]


def layer_choice_split(splits: Splits, view: DataView) -> Dataset:
    """Return the split on which layers of an int8 file are chosen for float32: the validation split.

    Raises:
        RecipeError: it is the test split.
        RunError: it is empty.
    """
    if view.validation_is_test:
        raise RecipeError("expected images to choose layers on, found data.validation_is_test: the test may not choose")
    if not len(splits.validation):
        raise RunError(f"{splits.train.source}: expected validation images to choose layers on, found none")
    return splits.validation


def temperature_images(splits: Splits, recipe: Recipe) -> Dataset:
    """Return the half of the validation split on which the temperature is chosen.

    Raises:
        RunError: see `independent_validation`; or fewer than MIN_TEMPERATURE_IMAGES.
    """
    try:
        validation = independent_validation(splits, recipe)
    except RunError as error:
        raise RunError(f"export.temperature_scaling: {error}") from error
    images = temperature_and_threshold_images(validation, seed=recipe.data.seed)[0]
    if len(images) < MIN_TEMPERATURE_IMAGES:
        raise RunError(
            f"export.temperature_scaling: expected at least {2 * MIN_TEMPERATURE_IMAGES} validation images, of which "
            f"half choose the temperature, found {len(validation)}"
        )
    return images


def _with_full_range(images: Images) -> Images:
    images = images.copy()
    if len(images):
        images[0, 0, 0], images[0, 0, 1] = 0, 255
    return images
