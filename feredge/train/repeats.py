"""Repeats: the same training with other seeds, and how far their figures lie apart."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path

from feredge import files
from feredge.data.dataset import Dataset
from feredge.progress import Progress
from feredge.recipe import Recipe
from feredge.run import RunFolder


def repeat(run: RunFolder, recipe: Recipe, dataset: Dataset, *, soft_labels: Path | None, progress: Progress) -> None:
    """Train `recipe` with the seeds after its own, in run folders of their own, then write `repeats.json`.

    `run` is the first of them. The file holds each seed's accuracies, their mean and the standard deviation of the
    sample (n - 1), for validation and test; None for a split without images.

    Raises:
        RunError: as in `train`.
    """
    from feredge.train.training import train

    seeds = range(recipe.training.seed, recipe.training.seed + recipe.training.repeats)
    runs = {seeds[0]: run}
    for number, seed in enumerate(seeds[1:], start=2):

        def tell(task: str, done: float, total: float, note: str = "", number: int = number) -> None:
            progress(f"{task} {number}/{len(seeds)}", done, total, note)

        alone = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, seed=seed, repeats=1))
        runs[seed] = train(alone, dataset, run.repeats / f"seed-{seed}", soft_labels=soft_labels, progress=tell)
    figures = {seed: each.figures() for seed, each in runs.items()}
    files.write_json(
        run.spread,
        {"seeds": list(seeds), **{split: _spread(figures, split) for split in ("validation", "test")}},
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
