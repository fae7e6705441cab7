"""Validation images that chose nothing else, for the temperature of an export and the thresholds of its files."""

from __future__ import annotations

import numpy as np

from feredge.data.dataset import Dataset, Splits
from feredge.data.splits import stratified_sample
from feredge.errors import RunError
from feredge.recipes.schema import Recipe


def independent_validation(splits: Splits, recipe: Recipe) -> Dataset:
    """Return the validation split, on which no weights were chosen.

    Raises:
        RunError: it is empty, it is the test split, or it chose the weights.
    """
    expected = "expected validation images that chose nothing else"
    if recipe.data.validation_is_test:
        raise RunError(f"{expected}, found data.validation_is_test: the test may not choose")
    if recipe.schedule.uses_metrics and recipe.schedule.uses_validation:
        raise RunError(f"{expected}, found ones that chose the weights ([schedule] of the recipe)")
    if not len(splits.validation):
        raise RunError(f"{expected}, found none")
    return splits.validation


def temperature_and_threshold_images(validation: Dataset, *, seed: int) -> tuple[Dataset, Dataset]:
    """Return a stratified half of the validation images for the temperature, and the other for the thresholds."""
    first = stratified_sample(validation, len(validation) // 2, seed=seed)
    return first, validation.take(~np.isin(validation.rows, first.rows))
