"""The schedule: what a training's history says about the next epoch's rate, the best epoch, and the end.

Nothing is remembered beside the history, so a resumed training goes on as an uninterrupted one would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from feredge.recipes.schema import Schedule, Training
from feredge.train.history import History, column


@dataclass(frozen=True)
class Verdict:
    """What the watched figure of the epochs so far says.

    Attributes:
        best: number of the best epoch, from 1; 0 before there is one.
        lowered: times that the rate has been lowered.
        stop: whether training ends here.
    """

    best: int
    lowered: int
    stop: bool


def judge(history: History, schedule: Schedule) -> Verdict:
    """Go through the epochs of `history`, as early stopping and rate-on-plateau would have."""
    best, lowered = _follow(history, schedule.watch, schedule)
    last_better = _follow(history, schedule.stop_watch, schedule)[0] if schedule.stop_watch else best
    return Verdict(best, lowered, 0 < schedule.stop_after <= len(history) - last_better)


def _follow(history: History, watch: str, schedule: Schedule) -> tuple[int, int]:
    """Return the best epoch by a figure, and how often the rate was lowered for want of a better one."""
    sign = -1.0 if watch.endswith("loss") else 1.0
    top, best, flat, lowered = -math.inf, 0, 0, 0
    for epoch, figure in enumerate(sign * column(history, watch), start=1):
        if figure > top + schedule.min_delta:
            top, best, flat = figure, epoch, 0
        else:
            flat += 1
            if flat == schedule.lower_after:
                lowered, flat = lowered + 1, 0
    return best, lowered


def rate(step: int, *, count: int, training: Training, schedule: Schedule, lowered: int) -> float:
    """Return the learning rate of step 0, 1, ... of a training of `count` steps an epoch."""
    warmup = training.warmup * count
    if schedule.shape == "cosine":
        value = learning_rate(step, steps=training.epochs * count, warmup=warmup, peak=training.rate)
    else:
        value = training.rate * min(1.0, (step + 1) / max(warmup, 1.0))
    decays = max(0, step // count - schedule.decay_from + 1)
    value *= math.exp(-schedule.decay * decays)
    return max(value * schedule.lower_by**lowered, schedule.lowest)


def learning_rate(step: int, *, steps: int, warmup: float, peak: float) -> float:
    """Return the rate of step 0, 1, ...: a line up to `peak` over `warmup` steps, then a cosine down to zero."""
    if step < warmup:
        return min(peak, peak * (step + 1) / max(warmup, 1.0))  # a warm-up may end within a step
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1.0)))
