"""The learning rate schedule, early stopping and the best epoch, all computed from the training history.

There is no other state, so a resumed training continues as an uninterrupted one would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from feredge.recipes.schema import Schedule, Training
from feredge.train.history import History, column


@dataclass(frozen=True)
class ScheduleState:
    """The schedule's state after the epochs so far.

    Attributes:
        best_epoch: number of the best epoch by the monitored metric, from 1; 0 before there is one.
        reductions: how many times the learning rate has been reduced on a plateau.
        stop: whether training ends here.
    """

    best_epoch: int
    reductions: int
    stop: bool


def schedule_state(history: History, schedule: Schedule) -> ScheduleState:
    """Return what Keras's EarlyStopping and ReduceLROnPlateau would have decided after the epochs of `history`."""
    best_epoch, reductions = _monitor(history, schedule.monitor, schedule)
    last_better = (
        _monitor(history, schedule.early_stopping_monitor, schedule)[0]
        if schedule.early_stopping_monitor
        else best_epoch
    )
    return ScheduleState(best_epoch, reductions, 0 < schedule.early_stopping_patience <= len(history) - last_better)


def _monitor(history: History, metric: str, schedule: Schedule) -> tuple[int, int]:
    """Return the best epoch by `metric`, and the number of learning rate reductions."""
    sign = -1.0 if metric.endswith("loss") else 1.0
    best, best_epoch, wait, reductions = -math.inf, 0, 0, 0
    for epoch, value in enumerate(sign * column(history, metric), start=1):
        if value > best + schedule.min_delta:
            best, best_epoch, wait = value, epoch, 0
        else:
            wait += 1
            if wait == schedule.lr_patience:
                reductions, wait = reductions + 1, 0
    return best_epoch, reductions


def learning_rate(step: int, *, steps_per_epoch: int, training: Training, schedule: Schedule, reductions: int) -> float:
    """Return the learning rate of step 0, 1, ... of a training."""
    warmup = training.warmup_epochs * steps_per_epoch
    if schedule.shape == "cosine":
        rate = warmup_cosine(step, steps=training.epochs * steps_per_epoch, warmup=warmup, peak=training.learning_rate)
    else:
        rate = training.learning_rate * min(1.0, (step + 1) / max(warmup, 1.0))
    decays = max(0, step // steps_per_epoch - schedule.decay_from + 1)
    rate *= math.exp(-schedule.decay * decays)
    return max(rate * schedule.lr_factor**reductions, schedule.min_lr)


def warmup_cosine(step: int, *, steps: int, warmup: float, peak: float) -> float:
    """Return the rate of step 0, 1, ...: linear up to `peak` over `warmup` steps, then a cosine decay to zero."""
    if step < warmup:
        return min(peak, peak * (step + 1) / max(warmup, 1.0))  # a warm-up may end within a step
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1.0)))
