"""What a study would cost: a few candidates are drawn, measured and trained for a moment, and nothing is kept."""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import optuna

from feredge import data
from feredge.data.dataset import Dataset
from feredge.errors import RecipeError
from feredge.progress import Progress, quiet
from feredge.recipes.schema import Recipe
from feredge.search import candidate
from feredge.search.costs import Limits, best_file
from feredge.search.sampling import TrialSeededSampler, check_draws, rungs
from feredge.search.space import SearchSettings, Space
from feredge.search.worker import WorkerOptions
from feredge.train import train
from feredge.train.networks import multiply_adds

DRAWN_CANDIDATES, TRAINED_CANDIDATES = 12, 3
TIMED_IMAGES = 2560


@dataclass(frozen=True)
class SearchEstimate:
    """What a study would cost on this machine, one worker.

    Attributes:
        trials: number of candidates to train.
        fitting: share of the drawn candidates that fit the limits, latency and instructions aside.
        measuring_seconds: of one candidate, without its latency.
        epoch_seconds: of one candidate that fits, the median.
        epochs: of one trial on average, if each rung passes on its share.
    """

    trials: int
    fitting: float
    measuring_seconds: float
    epoch_seconds: float
    epochs: float

    @property
    def hours(self) -> float:
        """Of the study, without the finalists; infinite where no drawn candidate fits."""
        if not self.fitting:
            return float("inf")
        per_trial = self.measuring_seconds / self.fitting + self.epochs * self.epoch_seconds
        return self.trials * per_trial / 3600.0


def estimate_study(
    space: Space, options: WorkerOptions, limits: Limits, *, trials: int, seed: int = 1, progress: Progress = quiet
) -> SearchEstimate:
    """Draw DRAWN_CANDIDATES candidates, export them, and train TRAINED_CANDIDATES of those that fit for two epochs.

    Raises:
        FeredgeError: what a search with these arguments raises.
    """
    check_draws(space)
    study = optuna.create_study(sampler=TrialSeededSampler("random", seed))
    measuring: list[float] = []
    epochs: list[float] = []
    fitting = drawn = 0
    while drawn < DRAWN_CANDIDATES and len(epochs) < TRAINED_CANDIDATES:
        progress("estimate", drawn, DRAWN_CANDIDATES)
        drawn += 1
        start = time.monotonic()
        try:
            recipe = space.draw(study.ask())
        except RecipeError:
            continue
        dataset = options.load(recipe.data)
        fits = _fits(recipe, space.settings, limits, dataset, candidate.measured_files(options.core))
        measuring.append(time.monotonic() - start)
        fitting += fits
        if fits:
            epochs.append(_epoch_seconds(recipe, dataset))
    progress("estimate", DRAWN_CANDIDATES, DRAWN_CANDIDATES)
    return SearchEstimate(
        trials,
        fitting / drawn,
        float(np.mean(measuring)) if measuring else 0.0,
        median(epochs) if epochs else 0.0,
        expected_epochs(space.settings, space.epochs),
    )


def expected_epochs(settings: SearchSettings, epochs: int) -> float:
    """Return the mean epochs of a trial of at most `epochs`, if at each rung one in `reduction_factor` goes on."""
    total, share, last = 0.0, 1.0, 0
    for rung in (*rungs(settings, epochs), epochs):
        total += share * (rung - last)
        share, last = share / settings.reduction_factor, rung
    return total


def _fits(recipe: Recipe, settings: SearchSettings, limits: Limits, dataset: Dataset, files: Sequence[str]) -> bool:
    classes = tuple(recipe.data.groups or dataset.classes)
    try:
        core = candidate.build_untrained(recipe, len(classes))
    except RecipeError:
        return False
    if settings.max_macs and multiply_adds(core) > settings.max_macs:
        return False
    with tempfile.TemporaryDirectory(prefix="feredge-") as folder:
        costs = candidate.file_costs(candidate.export_untrained(core, recipe, classes, Path(folder), files))
    return limits.excess(best_file(costs, limits)) == 0.0


def _epoch_seconds(recipe: Recipe, dataset: Dataset) -> float:
    """Return the seconds of an epoch, from the second of two on part of the images; the first compiles the step."""
    images = data.split(dataset, recipe.data).train
    sample = data.stratified_sample(images, TIMED_IMAGES, seed=1)
    short = replace(
        recipe,
        training=replace(recipe.training, epochs=2, warmup_epochs=0.0, repeats=1),
        augmentation=replace(recipe.augmentation, full_image_epochs=0, progressive_sizes=()),
    )
    with tempfile.TemporaryDirectory(prefix="feredge-") as folder:
        run = train(short, sample, Path(folder) / "run", evaluate_test=False)
        with run.history.open(encoding="utf-8", newline="") as file:
            rate = float(list(csv.DictReader(file))[-1]["images_per_second"])
    return len(images) / rate
