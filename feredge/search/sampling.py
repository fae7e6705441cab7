"""Optuna's samplers and pruner, made repeatable: a study that was killed goes on as if it had not been."""

from __future__ import annotations

import binascii
import copy
from collections import Counter
from collections.abc import Callable, Container
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from feredge.errors import RecipeError
from feredge.search.space import SearchSettings, Space

STARTUP_TRIALS = 10
"""Candidates that TPE draws at random first: Optuna's default."""
CHECKED_DRAWS = 20
"""Random draws of a new study's space, of which at least one must be a valid recipe."""
RUNG_KEY = "completed_rung_{}"
"""System attribute in which Optuna's successive halving records a trial's value at a rung."""


class TrialSeededSampler(BaseSampler):
    """A sampler whose draws depend on the seed, the trial's number, the parameter and the earlier trials only.

    Optuna's own samplers are seeded once for each process, so that the draws after a restart are others.
    """

    def __init__(self, kind: str, seed: int) -> None:
        self._kind, self._seed = kind, seed

    def _sampler(self, trial: FrozenTrial, name: str = "") -> BaseSampler:
        seed = binascii.crc32(f"{self._seed}/{trial.number}/{name}".encode())
        return RandomSampler(seed) if self._kind == "random" else TPESampler(n_startup_trials=STARTUP_TRIALS, seed=seed)

    def _view(self, study: Study) -> Study:
        """Return the study as TPE is to see it; a random sampler sees no other trials."""
        return study if self._kind == "random" else StudyView(study, at_one_rung)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that are drawn together."""
        return self._sampler(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw the parameters of `search_space` together."""
        return self._sampler(trial).sample_relative(self._view(study), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one parameter; with its own seed, because a resumed trial has drawn some of them already."""
        sampler, view = self._sampler(trial, param_name), self._view(study)
        return sampler.sample_independent(view, trial, param_name, param_distribution)


def at_one_rung(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return trials as if those that reached a rung had ended there: the highest that enough of them have reached.

    Enough is one more than there are parameters, as in BOHB (Falkner et al., 2018), or else as many as there are at the
    lowest rung. Optuna's TPE ranks all complete trials above all that ended at a rung; the first trial, which nothing
    is compared with, would count as one of the best.
    """
    finished = [trial for trial in trials if trial.state.is_finished()]
    enough = 1 + max((len(trial.params) for trial in finished), default=0)
    if sum(trial.state == TrialState.COMPLETE for trial in finished) >= enough:
        return trials
    reached = Counter(rung for trial in finished for rung in trial.intermediate_values)
    if not reached:
        return trials
    rung = max((rung for rung, count in reached.items() if count >= enough), default=min(reached))
    return [_ended_at(trial, rung) if trial.state.is_finished() else trial for trial in trials]


def _ended_at(trial: FrozenTrial, rung: int) -> FrozenTrial:
    """Return a trial as if it had been complete after the epochs of a rung; itself if it has no value there."""
    if rung not in trial.intermediate_values:
        return trial
    ended = copy.copy(trial)
    ended.state, ended.value = TrialState.COMPLETE, trial.intermediate_values[rung]
    return ended


class StudyView(Study):
    """A study whose trials a function changes before a sampler or a pruner sees them."""

    def __init__(self, study: Study, change: Callable[[list[FrozenTrial]], list[FrozenTrial]]) -> None:
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        self._change = change

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return self._change(super()._get_trials(deepcopy, states, use_cache))


class RepeatableHalving(SuccessiveHalvingPruner):
    """Asynchronous successive halving that can repeat its last decision (Li et al., ASHA, 2020).

    Optuna's records a trial's value at a rung before it decides. A trial that was killed in between reports the same
    value again; its record is ignored then, as Optuna would take it for a decision to go on.
    """

    def __init__(self, min_resource: int, reduction_factor: int) -> None:
        super().__init__(min_resource=min_resource, reduction_factor=reduction_factor)
        self._rungs = {min_resource * reduction_factor**rung: RUNG_KEY.format(rung) for rung in range(32)}

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial ends at its last reported epoch."""
        key = self._rungs.get(trial.last_step or 0, "")
        if key in trial.system_attrs:
            trial = copy.copy(trial)
            trial.system_attrs = {name: value for name, value in trial.system_attrs.items() if name != key}
            number = trial.number
            study = StudyView(study, lambda trials: [other for other in trials if other.number != number])
        return super().prune(study, trial)


def check_draws(space: Space) -> None:
    """Raise RecipeError if no draw of a space is a valid recipe, as where its fixed values exclude each other."""
    study = optuna.create_study(sampler=TrialSeededSampler("random", 0))
    for _ in range(CHECKED_DRAWS):
        try:
            space.draw(study.ask())
            return
        except RecipeError as error:
            last_error = error
    raise RecipeError(
        f"{space.name}: expected a space with valid recipes, found none in {CHECKED_DRAWS} draws ({last_error})"
    )


def rungs(settings: SearchSettings, epochs: int) -> tuple[int, ...]:
    """Return the epochs, before the last, after which a trial of `epochs` may end."""
    steps, step = [], settings.min_epochs
    while 0 < step < epochs:
        steps.append(step)
        step *= settings.reduction_factor
    return tuple(steps)


def make_pruner(settings: SearchSettings) -> BasePruner:
    """Return the pruner of a space."""
    if not settings.min_epochs:
        return NopPruner()
    return RepeatableHalving(settings.min_epochs, settings.reduction_factor)
