"""Repeats: the same training with other seeds, and how far their figures lie apart."""

from __future__ import annotations

import dataclasses
import statistics

from feredge import files
from feredge.progress import Progress
from feredge.recipes.schema import Recipe
from feredge.run import RunFolder


def others(recipe: Recipe) -> dict[int, Recipe]:
    """Return the recipes of the trainings that follow the first, by their seeds: those after the recipe's own."""
    first = recipe.training.seed
    return {
        seed: dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, seed=seed, repeats=1))
        for seed in range(first + 1, first + recipe.training.repeats)
    }


def numbered(progress: Progress, number: int, count: int) -> Progress:
    """Return `progress` for one training of several: its tasks say which."""
    return lambda task, done, total, note="": progress(f"{task} {number}/{count}", done, total, note)


def record(run: RunFolder, runs: dict[int, RunFolder]) -> None:
    """Write `repeats.json` into `run`, the first of `runs`, which are trained and named by their seeds.

    The file holds each seed's accuracies, their mean and the standard deviation of the sample (n - 1), for validation
    and test; None for a split without images.
    """
    figures = {seed: each.training_record() for seed, each in runs.items()}
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
