"""The schedule: learning rate, early stopping and best epoch follow from the history, as by Keras's callbacks."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feredge.keras import keras
from feredge.recipes.schema import Schedule, Training
from feredge.train import history, schedule
from feredge.train.schedule import warmup_cosine


def _history(values: list[float], name: str = "validation_accuracy") -> history.History:
    rows = np.full((len(values), len(history.HISTORY_COLUMNS)), np.nan)
    rows[:, history.HISTORY_COLUMNS.index(name)] = values
    return rows


def _keras(values: list[float], config: Schedule) -> tuple[int, float, bool]:
    """Return epochs run, final learning rate and whether training stopped, by Keras's callbacks."""
    mode = "min" if config.monitor.endswith("loss") else "max"
    optimizer = SimpleNamespace(lr=keras.backend.variable(1.0))
    model = SimpleNamespace(optimizer=optimizer, stop_training=False)  # all that the callbacks use of a model
    common = {"monitor": "x", "min_delta": config.min_delta, "mode": mode}
    callbacks = [
        keras.callbacks.EarlyStopping(patience=config.early_stopping_patience, **common),
        keras.callbacks.ReduceLROnPlateau(
            factor=config.lr_factor, patience=config.lr_patience, min_lr=config.min_lr, **common
        ),
    ]
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    for epoch, value in enumerate(values):
        for callback in callbacks:
            callback.on_epoch_end(epoch, {"x": value})
        if model.stop_training:
            return epoch + 1, float(optimizer.lr.numpy()), True
    return len(values), float(optimizer.lr.numpy()), False


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([0.2, 0.3, 0.305, 0.4, 0.5]), min_size=2, max_size=14),
    st.integers(1, 4),
    st.integers(2, 5),
    st.sampled_from([0.0, 0.01]),
    st.sampled_from(["validation_accuracy", "validation_loss"]),
)
def test_early_stopping_and_plateau_are_those_of_keras(
    values: list[float], lower: int, stop: int, delta: float, watch: Any
) -> None:
    """Guards the published protocols: the last epoch and the number of rate reductions are those of Keras."""
    config = Schedule(
        "constant", monitor=watch, min_delta=delta, lr_patience=lower, early_stopping_patience=stop, min_lr=0.2
    )
    ran, expected, stopped = _keras(values, config)
    state = schedule.schedule_state(_history(values[:ran], watch), config)
    assert state.stop == stopped
    assert not any(schedule.schedule_state(_history(values[:epochs], watch), config).stop for epochs in range(1, ran))
    actual = schedule.learning_rate(
        0,
        steps_per_epoch=1,
        training=Training(learning_rate=1.0, warmup_epochs=0.0),
        schedule=config,
        reductions=state.reductions,
    )
    assert actual == pytest.approx(expected, rel=1e-6)  # Keras keeps the rate in float32


@pytest.mark.parametrize(
    ("watch", "values", "best"),
    [
        ("validation_accuracy", [], 0),
        ("validation_accuracy", [0.1, 0.5, 0.5, 0.4], 2),
        ("train_loss", [3.0, 1.0, 2.0], 2),
        ("train_accuracy", [0.1, 0.100001, 0.3], 3),
    ],
)
def test_the_best_epoch_is_the_first_of_equals(watch: str, values: list[float], best: int) -> None:
    """Guards `keep = "best"`: losses are better when lower, and the first of equal epochs is the best."""
    state = schedule.schedule_state(_history(values, watch), Schedule(monitor=watch, keep_weights="best"))  # type: ignore[arg-type]  # a name of a metric
    assert state == schedule.ScheduleState(best, 0, False)


def test_another_metric_may_stop_the_training() -> None:
    """Guards protocols that stop by the training accuracy and keep the best epoch of the validation images."""
    rows = _history([0.6, 0.5, 0.4, 0.3, 0.2])
    rows[:, history.HISTORY_COLUMNS.index("train_accuracy")] = [0.1, 0.2, 0.3, 0.3, 0.2]
    config = Schedule(early_stopping_patience=2, early_stopping_monitor="train_accuracy", keep_weights="best")
    assert [schedule.schedule_state(rows[:epochs], config) for epochs in (4, 5)] == [
        schedule.ScheduleState(1, 0, False),
        schedule.ScheduleState(1, 0, True),
    ]


def test_the_rate_decays_from_its_epoch() -> None:
    """Guards the course's protocol: constant for ten epochs, then multiplied by exp(-0.1) each epoch."""
    config = Schedule("constant", decay=0.1, decay_from=10)
    rates = [
        schedule.learning_rate(
            step,
            steps_per_epoch=3,
            training=Training(learning_rate=1e-3, warmup_epochs=0.0),
            schedule=config,
            reductions=0,
        )
        for step in range(3 * 13)
    ]
    assert set(rates[:30]) == {1e-3}
    for epoch in (10, 11, 12):
        assert rates[3 * epoch : 3 * epoch + 3] == [pytest.approx(1e-3 * math.exp(-0.1 * (epoch - 9)))] * 3


def test_a_constant_rate_warms_up() -> None:
    """Guards `warmup` beside a constant rate."""
    training = Training(learning_rate=0.5, warmup_epochs=2.0)
    rates = [
        schedule.learning_rate(s, steps_per_epoch=5, training=training, schedule=Schedule("constant"), reductions=0)
        for s in range(12)
    ]
    assert rates == [pytest.approx(0.05 * min(step + 1, 10)) for step in range(12)]


def test_the_edge_recipes_rate_is_the_plain_cosine() -> None:
    """Guards nano's weights: without a schedule every rate is bit-equal to the cosine."""
    training = Training(epochs=4, warmup_epochs=1.0)
    for step in range(40):
        actual = schedule.learning_rate(step, steps_per_epoch=10, training=training, schedule=Schedule(), reductions=0)
        assert actual == warmup_cosine(step, steps=40, warmup=10.0, peak=0.1)


def test_rate_warms_up_and_decays_to_zero() -> None:
    """Guards both ends: no step at rate zero, the peak after the warm-up, nearly zero at the end."""
    rates = [warmup_cosine(step, steps=100, warmup=10, peak=0.5) for step in range(100)]
    assert rates[0] == pytest.approx(0.05) and rates[9] == rates[10] == 0.5
    assert rates[55] == pytest.approx(0.25)
    assert 0 < rates[99] < 0.001
    assert sorted(rates[10:], reverse=True) == rates[10:]
    assert warmup_cosine(0, steps=4, warmup=0.0, peak=0.5) == 0.5
    assert max(warmup_cosine(step, steps=9, warmup=2.5, peak=0.5) for step in range(9)) == 0.5
