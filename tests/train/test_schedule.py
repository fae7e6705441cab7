"""The schedule: rates and verdicts follow from the history alone, as Keras's own callbacks would have it."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feredge.keras import keras
from feredge.recipes.schema import Schedule, Training
from feredge.train import history, schedule
from feredge.train.schedule import learning_rate


def _history(figures: list[float], name: str = "validation_accuracy") -> history.History:
    rows = np.full((len(figures), len(history.COLUMNS)), np.nan)
    rows[:, history.COLUMNS.index(name)] = figures
    return rows


def _keras(figures: list[float], how: Schedule) -> tuple[int, float, bool]:
    """Return what Keras's callbacks make of the epochs: those that ran, the rate after them, and whether it stopped."""
    mode = "min" if how.watch.endswith("loss") else "max"
    optimizer = SimpleNamespace(lr=keras.backend.variable(1.0))
    model = SimpleNamespace(optimizer=optimizer, stop_training=False)  # all that they see of a model
    common = {"monitor": "x", "min_delta": how.min_delta, "mode": mode}
    callbacks = [
        keras.callbacks.EarlyStopping(patience=how.stop_after, **common),
        keras.callbacks.ReduceLROnPlateau(factor=how.lower_by, patience=how.lower_after, min_lr=how.lowest, **common),
    ]
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    for epoch, figure in enumerate(figures):
        for callback in callbacks:
            callback.on_epoch_end(epoch, {"x": figure})
        if model.stop_training:
            return epoch + 1, float(optimizer.lr.numpy()), True
    return len(figures), float(optimizer.lr.numpy()), False


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.2, 0.3, 0.305, 0.4, 0.5]), min_size=2, max_size=14),
    st.integers(1, 4),
    st.integers(2, 5),
    st.sampled_from([0.0, 0.01]),
    st.sampled_from(["validation_accuracy", "validation_loss"]),
)
def test_early_stopping_and_plateau_are_those_of_keras(
    figures: list[float], lower: int, stop: int, delta: float, watch: str
) -> None:
    """Guards the published protocols: which epoch ends the training, and how often the rate fell, are Keras's."""
    how = Schedule("constant", watch=watch, min_delta=delta, lower_after=lower, stop_after=stop, lowest=0.2)  # type: ignore[arg-type]
    ran, expected, stopped = _keras(figures, how)
    verdict = schedule.judge(_history(figures[:ran], watch), how)
    assert verdict.stop == stopped
    assert not any(schedule.judge(_history(figures[:epochs], watch), how).stop for epochs in range(1, ran))
    found = schedule.rate(0, count=1, training=Training(rate=1.0, warmup=0.0), schedule=how, lowered=verdict.lowered)
    assert found == pytest.approx(expected, rel=1e-6)  # Keras keeps the rate in float32


@pytest.mark.parametrize(
    ("watch", "figures", "best"),
    [
        ("validation_accuracy", [], 0),
        ("validation_accuracy", [0.1, 0.5, 0.5, 0.4], 2),
        ("train_loss", [3.0, 1.0, 2.0], 2),
        ("train_accuracy", [0.1, 0.100001, 0.3], 3),
    ],
)
def test_the_best_epoch_is_the_first_that_none_beats(watch: str, figures: list[float], best: int) -> None:
    """Guards `keep = "best"`: losses are better when lower, and of equals the first is kept."""
    verdict = schedule.judge(_history(figures, watch), Schedule(watch=watch, keep="best"))  # type: ignore[arg-type]
    assert verdict == schedule.Verdict(best, 0, False)


def test_another_figure_may_stop_the_training() -> None:
    """Guards protocols that stop by the training accuracy and keep the best epoch of the validation images."""
    rows = _history([0.6, 0.5, 0.4, 0.3, 0.2])
    rows[:, history.COLUMNS.index("train_accuracy")] = [0.1, 0.2, 0.3, 0.3, 0.2]
    how = Schedule(stop_after=2, stop_watch="train_accuracy", keep="best")
    assert [schedule.judge(rows[:epochs], how) for epochs in (4, 5)] == [
        schedule.Verdict(1, 0, False),
        schedule.Verdict(1, 0, True),
    ]


def test_the_rate_decays_from_its_epoch() -> None:
    """Guards the course's protocol: as it was for ten epochs, then times exp(-0.1) in each."""
    how = Schedule("constant", decay=0.1, decay_from=10)
    rates = [
        schedule.rate(step, count=3, training=Training(rate=1e-3, warmup=0.0), schedule=how, lowered=0)
        for step in range(3 * 13)
    ]
    assert set(rates[:30]) == {1e-3}
    for epoch in (10, 11, 12):
        assert rates[3 * epoch : 3 * epoch + 3] == [pytest.approx(1e-3 * math.exp(-0.1 * (epoch - 9)))] * 3


def test_a_constant_rate_warms_up() -> None:
    """Guards `warmup` beside a constant rate."""
    training = Training(rate=0.5, warmup=2.0)
    rates = [schedule.rate(s, count=5, training=training, schedule=Schedule("constant"), lowered=0) for s in range(12)]
    assert rates == [pytest.approx(0.05 * min(step + 1, 10)) for step in range(12)]


def test_the_edge_recipes_rate_is_the_plain_cosine() -> None:
    """Guards nano's weights: without a schedule every rate is the cosine's to the last bit."""
    training = Training(epochs=4, warmup=1.0)
    for step in range(40):
        found = schedule.rate(step, count=10, training=training, schedule=Schedule(), lowered=0)
        assert found == learning_rate(step, steps=40, warmup=10.0, peak=0.1)


def test_rate_warms_up_and_falls_to_nothing() -> None:
    """Guards the schedule's ends: no step at rate zero, the peak after the warm-up, nearly nothing at the end."""
    rates = [learning_rate(step, steps=100, warmup=10, peak=0.5) for step in range(100)]
    assert rates[0] == pytest.approx(0.05) and rates[9] == rates[10] == 0.5
    assert rates[55] == pytest.approx(0.25)
    assert 0 < rates[99] < 0.001
    assert sorted(rates[10:], reverse=True) == rates[10:]
    assert learning_rate(0, steps=4, warmup=0.0, peak=0.5) == 0.5
    assert max(learning_rate(step, steps=9, warmup=2.5, peak=0.5) for step in range(9)) == 0.5
