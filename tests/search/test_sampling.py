"""Samplers and pruner: the same draws and decisions after a kill."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import Trial, TrialState

from feredge.search.sampling import RUNG_KEY, TrialSeededSampler, make_pruner, rungs
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


def test_rungs_are_before_the_end() -> None:
    """Guards the epochs at which candidates are compared."""
    assert rungs(SearchSettings("nano", min_epochs=3, reduction_factor=3), 27) == (3, 9)
    assert rungs(SearchSettings("nano", min_epochs=0), 27) == ()
    assert rungs(HALVING, 1) == ()
