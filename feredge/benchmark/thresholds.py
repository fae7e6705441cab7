"""Thresholds of abstention: the confidence from which the predictions of a file have at least a precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from feredge.benchmark.statistics import Labels, binomial_tail, clopper_pearson_lower_bound
from feredge.data import NO_LABEL, Dataset, split
from feredge.data.selection import select
from feredge.data.validation import independent_validation, temperature_and_threshold_images
from feredge.errors import DataError, RunError
from feredge.inference.abstention import FileThresholds, PrecisionThreshold
from feredge.inference.artifact import Entry
from feredge.inference.contract import Images
from feredge.inference.runtimes import Probabilities, open_artifact
from feredge.progress import Progress, quiet
from feredge.recipes.schema import DataView, Recipe

CONFIDENCE_LEVEL = 0.95
"""Probability, over the calibration images, with which the precision above a threshold is at least the promised one."""
CANDIDATE_THRESHOLDS = tuple(number / 100 for number in range(99, -1, -1))
"""The candidates, fixed before the images are seen, in the order of the tests."""
START_COVERAGES = (0.1, 0.2, 0.4)
"""Fractions of the images that reach the thresholds at which the tests start: one start may be stopped by bad luck."""
MIN_IMAGES = 100
PREDICTION_BATCH = 64
GIVE_IMAGES = "give other labelled images by --images"


def choose_threshold(probabilities: Probabilities, labels: Labels, precision: float) -> PrecisionThreshold:
    """Choose the lowest threshold above which the precision is shown to be at least `precision`.

    Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei 2021) by fixed-sequence testing with several starts:
    for each threshold from a start down, the hypothesis that the precision above it is lower than promised is tested by
    the exact binomial test (Clopper and Pearson 1934), until one is not rejected. The error budget is divided among the
    starts. With the probability CONFIDENCE_LEVEL over the images, the precision above the returned threshold is at
    least the promised one, on images of the same distribution. Where the tests start depends on the confidences alone,
    not on the labels, which keeps the tests valid.

    Args:
        probabilities: `float32 (N, classes)`, of images that chose nothing else.
        labels: `(N,)`.
        precision: the promised fraction of correct predictions, between 0 and 1.

    Raises:
        DataError: fewer than MIN_IMAGES images.
    """
    if len(labels) < MIN_IMAGES:
        raise DataError(f"expected at least {MIN_IMAGES} labelled images to choose a threshold on, found {len(labels)}")
    confidence = probabilities.max(1).astype(np.float64)
    correct = probabilities.argmax(1) == labels
    images = [int((confidence >= threshold).sum()) for threshold in CANDIDATE_THRESHOLDS]
    hits = [int(correct[confidence >= threshold].sum()) for threshold in CANDIDATE_THRESHOLDS]
    error = (1 - CONFIDENCE_LEVEL) / len(START_COVERAGES)
    lowest = -1
    for coverage in START_COVERAGES:
        index = next(index for index, count in enumerate(images) if count >= coverage * len(labels))
        while index < len(CANDIDATE_THRESHOLDS) and binomial_tail(hits[index], images[index], precision) <= error:
            lowest = max(lowest, index)
            index += 1
    if lowest < 0:
        bounds = [clopper_pearson_lower_bound(*pair, 1 - error) for pair in zip(hits, images, strict=True)]
        return PrecisionThreshold(precision, None, 0.0, max(bounds))
    bound = clopper_pearson_lower_bound(hits[lowest], images[lowest], 1 - error)
    return PrecisionThreshold(precision, CANDIDATE_THRESHOLDS[lowest], images[lowest] / len(labels), bound)


def calibrate_files(
    folder: Path,
    entries: Sequence[Entry],
    images_of: Callable[[Entry], Dataset],
    precisions: Sequence[float],
    *,
    progress: Progress = quiet,
) -> dict[str, FileThresholds]:
    """Return the thresholds of each file, by its SHA-256, from its own predictions.

    Args:
        folder: of the files.
        entries: the files' entries in the manifest.
        images_of: labelled images, in the order of the file's classes, that chose nothing else.
        precisions: of the thresholds.
    """
    thresholds = {}
    for done, entry in enumerate(entries):
        progress("calibrate", done, len(entries), entry.file)
        dataset = images_of(entry)
        probabilities = _predict(folder / entry.file, dataset.images)
        levels = tuple(choose_threshold(probabilities, dataset.labels, precision) for precision in precisions)
        thresholds[entry.sha256] = FileThresholds(entry.file, len(dataset), dataset.digest, CONFIDENCE_LEVEL, levels)
    progress("calibrate", len(entries), len(entries))
    return thresholds


def validation_images(dataset: Dataset, recipe: Recipe, entry: Entry) -> Dataset:
    """Return a run's validation images that chose nothing else: half of them if the others chose the temperature.

    Raises:
        RunError: there are none, they are the test images, or they chose the weights or layers of this file.
    """
    try:
        validation = independent_validation(split(dataset, recipe.data), recipe)
    except RunError as error:
        raise RunError(f"{entry.file}: {error}; {GIVE_IMAGES}") from error
    if "validation_drop" in entry.verification:
        raise RunError(
            f"{entry.file}: expected validation images that chose nothing else, found ones that chose its float32 "
            f"layers (export.max_drop); {GIVE_IMAGES}"
        )
    if "temperature" not in entry.verification:
        return validation
    return temperature_and_threshold_images(validation, seed=recipe.data.seed)[1]


def labelled_images(dataset: Dataset, entry: Entry, view: DataView) -> Dataset:
    """Return all labelled images of a data set that the network was not trained on, in the order of its classes.

    Args:
        view: of the network's recipe.

    Raises:
        DataError: the data that the network was trained on, or none of its classes.
    """
    card = entry.card
    if dataset.digest == card.source.get("data"):
        raise DataError(f"{dataset.source}: expected images that {entry.file} was not trained on, found those it was")
    selected = select(dataset, view if view.groups else replace(view, classes=card.classes))
    labelled = selected.take(selected.labels != NO_LABEL)
    if not len(labelled):
        raise DataError(f"{dataset.source}: expected labelled images, found none")
    return labelled


def _predict(path: Path, images: Images) -> Probabilities:
    runner = open_artifact(path, threads=1)
    starts = range(0, len(images), PREDICTION_BATCH)
    return np.concatenate([runner.predict(images[start : start + PREDICTION_BATCH]) for start in starts])
