"""Samplers and pruner: the same draws and decisions after a kill."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from feredge.search.sampling import RUNG_KEY, TrialSeededSampler, at_one_rung, make_pruner, rungs
from feredge.search.space import SearchSettings

HALVING = SearchSettings("nano", min_epochs=1, reduction_factor=2)


def new_study(settings: SearchSettings = HALVING, kind: str = "tpe") -> Study:
    """Return a study in memory."""
    return optuna.create_study(
        direction="maximize", sampler=TrialSeededSampler(kind, seed=1), pruner=make_pruner(settings)
    )


def draw(trial: Trial) -> tuple[Any, ...]:
    """Draw three parameters, one of them conditional."""
    x = trial.suggest_float("x", 0, 1)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    return x, kind, trial.suggest_int("n", 1, 100) if kind == "a" else 0


def test_a_trial_that_goes_on_draws_the_same() -> None:
    """Guards a trial that was killed between two draws, among random trials and among those of TPE."""
    first, second = new_study(), new_study()
    for number in range(16):
        expected = draw(trial := first.ask())
        first.tell(trial, expected[0])
        interrupted = second.ask()
        interrupted.suggest_float("x", 0, 1)
        resumed = Trial(second, interrupted._trial_id)  # as another process opens it
        assert draw(resumed) == expected
        second.tell(number, expected[0])


def test_random_draws_are_of_the_number_and_seed() -> None:
    """Guards the published protocol, whose seed is fixed before the first draw."""
    samples = [draw(new_study(kind="random").ask()) for _ in range(2)]
    assert samples[0] == samples[1] != draw(optuna.create_study(sampler=TrialSeededSampler("random", seed=2)).ask())


def test_a_decision_at_a_rung_is_repeated() -> None:
    """Guards a trial killed between Optuna's record of its value and its end: it is not promoted by the kill."""
    study = new_study()
    for value, promoted in [(0.5, True), (0.4, False), (0.6, True), (0.3, False), (0.55, True), (0.2, False)]:
        trial = study.ask()
        trial.report(value, 1)
        assert trial.should_prune() is not promoted
        assert RUNG_KEY.format(0) in study.trials[trial.number].system_attrs
        again = Trial(study, trial._trial_id)
        assert again.should_prune() is not promoted
        study.tell(trial, state=TrialState.PRUNED)


def ended(*values: float, value: float | None = None, x: float = 0.5) -> FrozenTrial:
    """Return a trial with values after epochs 3 and 9; complete if it has a final value."""
    return optuna.create_trial(
        state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
        value=value,
        params={"x": x, "y": 0.5},
        distributions={"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)},
        intermediate_values=dict(zip((3, 9), values, strict=False)),
    )


def test_the_first_trial_is_not_one_of_the_best() -> None:
    """Guards TPE from a poor trial that nothing was compared with, and that therefore was trained to its end."""
    study = new_study()
    study.add_trial(ended(0.1, 0.15, value=0.2, x=0.1))
    study.add_trials([ended(x, x=x) for x in np.linspace(0.3, 0.9, 29)])
    assert all(study.ask().suggest_float("x", 0, 1) > 0.25 for _ in range(16))  # a quarter is near 0.1 otherwise


def test_trials_are_compared_at_the_highest_rung_of_enough_trials() -> None:
    """Guards what TPE sees: values of the same number of epochs, the last ones where enough trials have them."""
    misfit, poor, good, best = ended(), ended(0.2), ended(0.4, 0.5), ended(0.3, 0.6, value=0.7)
    assert [one.value for one in at_one_rung([misfit, poor, good, best])] == [None, 0.2, 0.4, 0.3]
    assert [one.value for one in at_one_rung([misfit, poor, good, best, best])] == [None, None, 0.5, 0.6, 0.6]
    assert at_one_rung([poor, best, best, best]) == [poor, best, best, best]
    assert at_one_rung([misfit]) == [misfit] and best.value == 0.7


def test_rungs_are_before_the_end() -> None:
    """Guards the epochs at which candidates are compared."""
    assert rungs(SearchSettings("nano", min_epochs=3, reduction_factor=3), 27) == (3, 9)
    assert rungs(SearchSettings("nano", min_epochs=0), 27) == ()
    assert rungs(HALVING, 1) == ()
