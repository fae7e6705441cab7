"""Workers stay open between turns, but not more of them than memory allows."""

from __future__ import annotations

import os

import numpy as np
import pytest
from toy_workshop import SMALL, Workshop

from feredge.benchmark.trial import Trial
from feredge.benchmark.workers.client import Worker
from feredge.benchmark.workers.pool import MOST, Alive, bound


def gone(pid: int) -> bool:
    """Say whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_one_that_waited_longest_makes_room(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards memory with dozens of files: a third worker ends the first, which opens again and warms up anew."""
    images = workshop.splits.test.batch[:8]
    trials = [Trial(workshop.subject(name, "toy_runners:Linear")) for name in "abc"]
    monkeypatch.setattr(Trial, "held", lambda self: 100)
    readied: list[str] = []

    def ready(trial: Trial) -> None:
        readied.append(trial.subject.name)
        trial.give(images, np.zeros((1, 96, 96, 3), np.uint8))

    with Alive(1, ready, most=250) as alive:
        pids = []
        for trial in (trials[0], trials[1], trials[0], trials[2]):
            alive.wake(trial)
            trial.turn(SMALL, 1)
            assert trial.worker is not None and not trial.fresh
            pids.append(trial.worker.pid)
        assert readied == ["a", "b", "c"] and pids[0] == pids[2]
        assert gone(pids[1]) and not gone(pids[0]), "b waited longest"
        alive.wake(trials[1])
        assert readied[-1] == "b" and trials[1].fresh and gone(pids[0])
        alive.drop(trials[1])
    assert all(gone(pid) for pid in pids)


def test_the_bound_is_under_what_is_free() -> None:
    """Guards small machines: never more than half of what is free."""
    assert 0 < bound() <= MOST


def test_a_worker_says_what_it_holds(workshop: Workshop) -> None:
    """Guards what the bound adds up: a process's own memory, which is less than what is resident."""
    with Worker() as worker:
        answer, _ = worker.ask("memory", timeout=60)
        assert 1 << 20 < answer["own"] <= answer["now"] <= answer["peak"]
