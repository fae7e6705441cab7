"""A pool of workers that stay open between their turns, within a memory budget."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Self

from feredge.benchmark.measurement import Measurement
from feredge.benchmark.workers.client import Worker
from feredge.inference import system_info

MAX_POOL_BYTES = 8 << 30
"""Private memory of all workers together; less where less than twice as much is available."""


class WorkerPool:
    """Opens a measurement's worker when its turn comes; closes the least recently used ones when memory runs short.

    Args:
        threads: of each worker's runtime.
        prepare: called with a measurement whose worker has just loaded its file.
        budget_bytes: private memory of all workers; `memory_budget()` by default.
    """

    def __init__(
        self, threads: int, prepare: Callable[[Measurement], None], *, budget_bytes: int | None = None
    ) -> None:
        self._threads = threads
        self._prepare = prepare
        self._budget_bytes = memory_budget() if budget_bytes is None else budget_bytes
        self._workers: OrderedDict[str, tuple[Worker, int]] = OrderedDict()

    def acquire(self, measurement: Measurement) -> None:
        """Make sure that the measurement's worker is open and ready to be timed."""
        name = measurement.candidate.name
        if name in self._workers:
            self._workers.move_to_end(name)
            return
        worker = Worker(threads=self._threads)
        self._workers[name] = worker, 0
        measurement.load(worker, self._threads)
        self._prepare(measurement)
        self.enforce_budget(measurement)

    def enforce_budget(self, measurement: Measurement) -> None:
        """Update the memory of the measurement's worker; close the least recently used ones until all fit."""
        name = measurement.candidate.name
        self._workers[name] = self._workers[name][0], measurement.private_bytes()
        while len(self._workers) > 1 and sum(size for _, size in self._workers.values()) > self._budget_bytes:
            self._workers.popitem(last=False)[1][0].close()

    def discard(self, measurement: Measurement) -> None:
        """Close the worker of a measurement that failed."""
        if measurement.candidate.name in self._workers:
            self._workers.pop(measurement.candidate.name)[0].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker, _ in self._workers.values():
            worker.close()


def memory_budget() -> int:
    """Return the bytes that workers may use together here: MAX_POOL_BYTES, or half of what is available."""
    available = system_info.read_sizes(system_info.MEMINFO_PATH).get("MemAvailable")
    return MAX_POOL_BYTES if available is None else min(MAX_POOL_BYTES, available // 2)
