"""The worker pool: workers stay open between turns, within a memory budget."""

from __future__ import annotations

import os

import numpy as np
import pytest
from toy_workshop import SMALL_CONFIG, Workshop

from feredge.benchmark.measurement import Measurement
from feredge.benchmark.workers.client import Worker
from feredge.benchmark.workers.pool import MAX_POOL_BYTES, WorkerPool, memory_budget


def has_ended(pid: int) -> bool:
    """Return whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_least_recently_used_worker_is_closed(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards memory with dozens of files: a third worker ends the first, which opens again and warms up anew."""
    images = workshop.splits.test.images[:8]
    measurements = [Measurement(workshop.candidate(name, "toy_runners:Linear")) for name in "abc"]
    monkeypatch.setattr(Measurement, "private_bytes", lambda self: 100)
    prepared: list[str] = []

    def prepare(measurement: Measurement) -> None:
        prepared.append(measurement.candidate.name)
        measurement.set_inputs(images, np.zeros((1, 96, 96, 3), np.uint8))

    with WorkerPool(1, prepare, budget_bytes=250) as pool:
        pids = []
        for measurement in (measurements[i] for i in (0, 1, 0, 2)):
            pool.acquire(measurement)
            measurement.time_turn(SMALL_CONFIG, 1)
            assert measurement.worker is not None and not measurement.needs_warm_up
            pids.append(measurement.worker.pid)
        assert prepared == ["a", "b", "c"] and pids[0] == pids[2]
        assert has_ended(pids[1]) and not has_ended(pids[0]), "b is the least recently used"
        pool.acquire(measurements[1])
        assert prepared[-1] == "b" and measurements[1].needs_warm_up and has_ended(pids[0])
        pool.discard(measurements[1])
    assert all(has_ended(pid) for pid in pids)


def test_the_budget_is_at_most_half_of_available_memory() -> None:
    """Guards small machines against swapping."""
    assert 0 < memory_budget() <= MAX_POOL_BYTES


def test_a_worker_reports_its_memory(workshop: Workshop) -> None:
    """Guards what the budget adds up: private memory, which is less than resident memory."""
    with Worker() as worker:
        response, _ = worker.request("memory", timeout_seconds=60)
        assert 1 << 20 < response["private"] <= response["resident"] <= response["peak"]
