"""The end of a study: its best candidates are trained again with new seeds, and only these see the test images."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FixedTrial

import feredge.predictions as predictions
from feredge import dataclass_io, files
from feredge.benchmark.statistics import BOOTSTRAP_RESAMPLES
from feredge.errors import RecipeError, RunError, one_line
from feredge.progress import Progress, quiet
from feredge.recipes.schema import Recipe
from feredge.run import RunFolder
from feredge.search.results import TrialRecord
from feredge.search.study import StudyFolder
from feredge.search.trial_runner import TrialRunner, predict_function
from feredge.train import train

FINAL_SEEDS = 3
"""Trainings of each finalist, with the seeds that follow its recipe's."""
FINALIST_COUNT = 3
BOOTSTRAP_SEED = 1


@dataclass(frozen=True)
class Finalist:
    """A candidate that was trained again.

    Attributes:
        trial: number of its trial.
        name: of its trial's folder.
        seeds: of its trainings.
        validation: accuracy of each training on the validation images, averaged over shifted views.
        test: accuracy of each training on the test images; empty without test images.
        behind_pp: by how many percentage points of test accuracy, averaged over the seeds, it is behind the chosen one.
        behind_low_pp, behind_high_pp: the 95% interval of it, by paired bootstrap over the images.
    """

    trial: int
    name: str
    seeds: tuple[int, ...]
    validation: tuple[float, ...]
    test: tuple[float, ...] = ()
    behind_pp: float = 0.0
    behind_low_pp: float = 0.0
    behind_high_pp: float = 0.0


@dataclass(frozen=True)
class FinalEvaluation:
    """The finalists, and which is chosen: by the mean validation accuracy.

    Attributes:
        chosen: name of the chosen finalist.
        test_images: number of test images.
        test_evaluations: how often a study has looked at the test images: once for each set of finalists.
    """

    chosen: str
    finalists: tuple[Finalist, ...]
    test_images: int
    test_evaluations: int = 1

    @classmethod
    def read(cls, folder: StudyFolder) -> FinalEvaluation | None:
        """Return a study's final evaluation; None before it.

        Raises:
            RunError: a damaged file.
        """
        if not folder.final_evaluation.is_file():
            return None
        try:
            table = json.loads(folder.final_evaluation.read_text(encoding="utf-8"))
            final_evaluation: FinalEvaluation = dataclass_io.read(cls, table, str(folder.final_evaluation))
        except (OSError, ValueError, RecursionError, RecipeError) as error:
            raise RunError(
                f"{folder.final_evaluation}: expected the finalists, cannot be read ({one_line(error)})"
            ) from error
        if not all(one.validation for one in final_evaluation.finalists):
            raise RunError(f"{folder.final_evaluation}: expected validation accuracies of each finalist, found none")
        return final_evaluation


def evaluate_finalists(
    runner: TrialRunner, finalists: Sequence[TrialRecord], progress: Progress = quiet
) -> FinalEvaluation | None:
    """Train the finalists with FINAL_SEEDS seeds each, compare them on the test images, and write the results.

    A finished final evaluation of the same trials is returned as it is; an interrupted one goes on.

    Args:
        runner: of the study's trials.
        finalists: complete trials.
        progress: called during trainings.

    Returns:
        The final evaluation; None without finalists.
    """
    folder = runner.store.folder
    earlier = FinalEvaluation.read(folder)
    if not finalists:
        return earlier
    if earlier is not None and [one.trial for one in earlier.finalists] == [one.number for one in finalists]:
        return earlier
    hits: dict[str, NDArray[np.float64]] = {}
    measured = []
    for trial in finalists:
        recipe = runner.space.draw(FixedTrial(trial.parameters))
        runs = [
            _train_seed(runner, recipe, trial.name, seed, progress)
            for seed in range(recipe.training.seed + 1, recipe.training.seed + 1 + FINAL_SEEDS)
        ]
        stored = [predictions.read(run) for run in runs]
        correct = np.stack([one.predicted == one.labels for one in stored]).astype(np.float64)
        hits[trial.name] = correct.mean(axis=0)
        measured.append(
            Finalist(
                trial.number,
                trial.name,
                tuple(run.recipe().training.seed for run in runs),
                tuple(runner.accuracy(predict_function(run), runner.validation(recipe)) for run in runs),
                tuple(correct.mean(axis=1).tolist()) if correct.size else (),
            )
        )
    final_evaluation = _compare(measured, hits, 0 if earlier is None else earlier.test_evaluations)
    files.write_json(folder.final_evaluation, dataclasses.asdict(final_evaluation))
    return final_evaluation


def _train_seed(runner: TrialRunner, recipe: Recipe, name: str, seed: int, progress: Progress) -> RunFolder:
    seeded = replace(recipe, training=replace(recipe.training, seed=seed))
    return train(
        seeded,
        runner.inputs.load(recipe.data),
        runner.store.folder.finalist(name, seed).path,
        start=runner.start_network(recipe),
        teachers=runner.inputs.teachers,
        progress=lambda task, done, total, note="": progress(f"{task} {name} seed {seed}", done, total, note),
    )


def _compare(finalists: Sequence[Finalist], hits: dict[str, NDArray[np.float64]], evaluations: int) -> FinalEvaluation:
    """Choose on the validation images, then compare on the test images."""
    chosen = max(finalists, key=lambda one: float(np.mean(one.validation)))
    compared = []
    for one in finalists:
        difference = hits[chosen.name] - hits[one.name]
        if len(difference):
            low, high = _interval(difference)
            one = replace(
                one, behind_pp=100 * float(difference.mean()), behind_low_pp=100 * low, behind_high_pp=100 * high
            )
        compared.append(one)
    return FinalEvaluation(chosen.name, tuple(compared), len(hits[chosen.name]), evaluations + 1)


def _interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95% interval of the mean, by bootstrap over images: of their few values, the counts are drawn."""
    values, counts = np.unique(differences, return_counts=True)
    draws = np.random.default_rng(BOOTSTRAP_SEED).multinomial(
        len(differences), counts / len(differences), size=BOOTSTRAP_RESAMPLES
    )
    low, high = np.quantile(draws @ values / len(differences), (0.025, 0.975))
    return float(low), float(high)
