"""Repeats: the same training with further seeds, and the spread of the accuracies."""

from __future__ import annotations

import dataclasses
import statistics

from feredge import files
from feredge.progress import Progress
from feredge.recipes.schema import Recipe
from feredge.run import RunFolder


def repeat_recipes(recipe: Recipe) -> dict[int, Recipe]:
    """Return the recipes of the trainings after the first, by seed: those that follow the recipe's seed."""
    first = recipe.training.seed
    return {
        seed: dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, seed=seed, repeats=1))
        for seed in range(first + 1, first + recipe.training.repeats)
    }


def numbered_progress(progress: Progress, number: int, count: int) -> Progress:
    """Return `progress` for one training of several, with its number in the names of the tasks."""
    return lambda task, done, total, note="": progress(f"{task} {number}/{count}", done, total, note)


def write_spread(run: RunFolder, runs: dict[int, RunFolder]) -> None:
    """Write `repeats.json` into `run`, the first of `runs`, which are trained and keyed by seed.

    The file holds each seed's accuracy, their mean and sample standard deviation (n - 1), for validation and test;
    None for a split without images.
    """
    figures = {seed: repeat.figures() for seed, repeat in runs.items()}
    files.write_json(
        run.spread,
        {"seeds": list(figures), **{split: _spread(figures, split) for split in ("validation", "test")}},
    )


def _spread(figures: dict[int, dict[str, dict[str, float] | None]], split: str) -> dict[str, object] | None:
    accuracies = [score["accuracy"] for figure in figures.values() if (score := figure[split]) is not None]
    if not accuracies:
        return None
    return {
        "accuracies": accuracies,
        "mean": statistics.fmean(accuracies),
        "standard_deviation": statistics.stdev(accuracies),
    }
