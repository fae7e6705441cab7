"""One trial: its candidate is drawn, measured before it is trained, trained by successive halving, and evaluated."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import TrialState

from feredge.data import split
from feredge.data.dataset import Dataset
from feredge.data.views import CROSS_VIEWS, hits_over_views
from feredge.devices.ssh import Device
from feredge.errors import ArtifactError, DataError, DivergedError, RecipeError, RunError
from feredge.inference.contract import Images
from feredge.keras import keras
from feredge.progress import Progress, quiet
from feredge.recipes.schema import DataView, Recipe
from feredge.run import RunFolder
from feredge.search import candidate, latency
from feredge.search.costs import FileCost, best_file, costs_from_json, costs_to_json
from feredge.search.device_costs import device_ratios, instruction_counts
from feredge.search.machine_lock import MachineLock
from feredge.search.sampling import rungs
from feredge.search.space import Space
from feredge.search.study import StudySettings
from feredge.search.trials import MISFIT_ATTRIBUTE, ClaimedTrial, TrialStore
from feredge.train import load_model, train
from feredge.train.loop import EpochEnd
from feredge.train.networks import build_core, make_predict_function, multiply_adds
from feredge.train.warm_start import TrainedNetwork, check_start

COSTS_ATTRIBUTE, ACCURACY_ATTRIBUTE, REASON_ATTRIBUTE = "costs", "accuracy", "reason"
RECIPE_CONSTRAINT = "recipe"
"""Constraint of a draw whose values exclude each other."""


@dataclass(frozen=True, eq=False)
class TrainingInputs:
    """What trials train on, besides their recipes.

    Attributes:
        load: returns the data with images of a view's size and channels.
        start: a network that trainings start from where its layers fit.
        teachers: networks for online distillation.
        device: that latencies are measured on; None for this machine.
    """

    load: Callable[[DataView], Dataset]
    start: TrainedNetwork | None = None
    teachers: Sequence[TrainedNetwork] = ()
    device: Device | None = None


@dataclass(eq=False)
class TrialRunner:
    """Runs the trials of one worker."""

    store: TrialStore
    settings: StudySettings
    inputs: TrainingInputs
    machine: MachineLock
    progress: Progress = quiet
    _validation: dict[str, Dataset] = field(default_factory=dict)

    @property
    def space(self) -> Space:
        """The study's space."""
        return self.settings.parsed_space

    def run(self, claimed: ClaimedTrial) -> None:
        """Run a claimed trial to its end, from wherever it was left.

        Raises:
            DataError: no validation images.
            StorageError: a storage that is away for too long.
        """
        with self.machine.shared():
            keras.backend.clear_session()
            recipe = self._draw(claimed)
            if recipe is None:
                return
            claimed.start_phase("measuring")
            if self._measure(claimed, recipe):
                claimed.start_phase("training")
                self._train(claimed, recipe)

    def _draw(self, claimed: ClaimedTrial) -> Recipe | None:
        """Return the trial's recipe; None, and the trial is ended, if its values exclude each other."""
        try:
            return self.store.call(lambda: self.space.draw(claimed.trial))
        except RecipeError as error:
            self._reject(claimed, str(error), {RECIPE_CONSTRAINT: 1.0})
            return None

    def _reject(self, claimed: ClaimedTrial, reason: str, violations: dict[str, float]) -> None:
        """End a trial whose candidate is not trained; the sampler learns how far off it was."""
        for name, violation in violations.items():
            claimed.set_constraint(name, violation)
        claimed.set(MISFIT_ATTRIBUTE, reason)
        claimed.end(TrialState.PRUNED)

    def _measure(self, claimed: ClaimedTrial, recipe: Recipe) -> bool:
        """Measure the candidate's costs; return whether it fits the limits, else the trial is ended."""
        limits = self.settings.limits
        if COSTS_ATTRIBUTE not in claimed.trial.user_attrs:
            classes = self.validation(recipe).classes
            try:
                core = candidate.build_untrained(recipe, len(classes))
                if self._has_too_many_macs(claimed, multiply_adds(core)):
                    return False
                costs = self._file_costs(core, recipe, classes)
            except (RecipeError, ArtifactError) as error:
                self._reject(claimed, str(error), {RECIPE_CONSTRAINT: 1.0})
                return False
            claimed.set(COSTS_ATTRIBUTE, costs_to_json(costs))
        best = best_file(costs_from_json(claimed.get(COSTS_ATTRIBUTE)), limits)
        violations = limits.violations(best)
        if reason := limits.reason(best):
            self._reject(claimed, reason, violations)
            return False
        for name, violation in violations.items():
            claimed.set_constraint(name, violation)
        return True

    def _has_too_many_macs(self, claimed: ClaimedTrial, macs: int) -> bool:
        """Return whether a network is over a limit that is known before its export; the trial is ended then."""
        limit = min((one for one in (self.space.settings.max_macs, self.settings.limits.max_macs) if one), default=0)
        if not limit or macs <= limit:
            return False
        self._reject(claimed, f"{macs:,} multiply-adds, over {limit:,.0f}", {"max_macs": macs / limit - 1.0})
        return True

    def _file_costs(self, core: Any, recipe: Recipe, classes: Sequence[str]) -> list[FileCost]:
        """Return the costs of the candidate's files; those that need a run last, and only of files that may fit."""
        limits = self.settings.limits
        with tempfile.TemporaryDirectory(prefix="feredge-") as name:
            folder = Path(name)
            files = candidate.measured_files(self.settings.core)
            paths = candidate.export_untrained(core, recipe, classes, folder, files)
            costs = candidate.file_costs(paths)
            if limits.excess(best_file(costs, limits)) > 0.0:
                return costs
            if self.settings.core:
                counts = instruction_counts(paths, self.settings.core)
                costs = [replace(cost, instructions=count) for cost, count in zip(costs, counts, strict=True)]
            if self.space.settings.latency and files == candidate.MEASURED_FILES:
                ratios, measured_ms = self._latency_ratios(core, recipe, paths, folder)
                reference_ms = self.store.reference_ms(measured_ms)
                latencies = [None if ratio is None else ratio * reference_ms for ratio in ratios]
                costs = [replace(cost, latency_ms=ms) for cost, ms in zip(costs, latencies, strict=True)]
                costs = [cost for cost in costs if cost.latency_ms is not None]  # a device may lack a runtime
        if not costs:
            raise ArtifactError("expected a file that runs on the device, found none")
        return costs

    def _latency_ratios(
        self, core: Any, recipe: Recipe, paths: Sequence[Path], folder: Path
    ) -> tuple[list[float | None], float]:
        """Return each file's latency over the reference network's, and the latter in ms: here or on the device."""
        if self.inputs.device is not None:
            return device_ratios(self.inputs.device, core, recipe, paths, folder)
        with self.machine.exclusive():
            by_name, measured_ms = latency.measure_ratios(paths)
        return [by_name[path.name] for path in paths], measured_ms

    def _train(self, claimed: ClaimedTrial, recipe: Recipe) -> None:
        """Train the candidate on, and end the trial: at a rung, or with the accuracy of its float model."""
        due = rungs(self.space.settings, recipe.training.epochs)

        def report(state: EpochEnd) -> None:
            if state.epoch in due and claimed.report(state.epoch, self.accuracy(state.predict, state.validation)):
                raise optuna.TrialPruned

        try:
            run = train(
                recipe,
                self.inputs.load(recipe.data),
                claimed.run.path,
                start=self.start_network(recipe),
                teachers=self.inputs.teachers,
                evaluate_test=False,
                on_epoch_end=report,
                progress=self.machine.pausing(self.progress),
            )
        except optuna.TrialPruned:
            claimed.run.checkpoint.unlink(missing_ok=True)
            claimed.end(TrialState.PRUNED)
            return
        except DivergedError:
            claimed.set(REASON_ATTRIBUTE, "the loss was no longer finite")
            claimed.end(TrialState.PRUNED)
            return
        value = self.accuracy(predict_function(run), self.validation(recipe))
        claimed.set(ACCURACY_ATTRIBUTE, value)
        claimed.end(TrialState.COMPLETE, value)

    def start_network(self, recipe: Recipe) -> TrainedNetwork | None:
        """Return the network to start from, if the recipe's has its layers, with as many channels or fewer."""
        if self.inputs.start is None:
            return None
        core = build_core(
            recipe.network,
            size=recipe.data.size,
            classes=len(self.validation(recipe).classes),
            channels=recipe.data.channels,
        )
        try:
            check_start(core, self.inputs.start)
        except RunError:
            return None
        return self.inputs.start

    def accuracy(self, predict: Callable[[Images], NDArray[np.float32]], validation: Dataset) -> float:
        """Return the accuracy on the validation images, a fraction; the mean over shifted views unless the space has
        `views = false`.
        """
        views = CROSS_VIEWS if self.space.settings.views else CROSS_VIEWS[:1]
        return float(hits_over_views(predict, validation.images, validation.labels, views).mean()) / len(views)

    def validation(self, recipe: Recipe) -> Dataset:
        """Return the recipe's validation split.

        Raises:
            DataError: it has no images.
        """
        key = recipe.digest("data")
        if key not in self._validation:
            dataset = self.inputs.load(recipe.data)
            validation = split(dataset, recipe.data).validation
            if not len(validation):
                raise DataError(f"{dataset.source}: expected validation images to choose on, found none")
            self._validation[key] = validation
        return self._validation[key]


def predict_function(run: RunFolder) -> Callable[[Images], NDArray[np.float32]]:
    """Return a trained run's float model as a function from `uint8 (N, H, W)` to probabilities."""
    return make_predict_function(load_model(run).get_layer("core"))
