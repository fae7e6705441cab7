"""Workers that stay open between their turns, within a bound on the memory that they hold together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Self

from feredge.benchmark.trial import Trial
from feredge.benchmark.workers.client import Worker
from feredge.inference import system_info

MOST = 8 << 30
"""Bytes that are a process's own, libraries that all share left aside; less where less than twice as much is free."""


class Alive:
    """Opens a trial's worker when its turn comes, and closes those that waited longest when memory runs short."""

    def __init__(self, threads: int, ready: Callable[[Trial], None], *, most: int | None = None) -> None:
        self._threads = threads
        self._ready = ready
        self._most = bound() if most is None else most
        self._open: OrderedDict[str, tuple[Worker, int]] = OrderedDict()

    def wake(self, trial: Trial) -> None:
        """See to it that the trial's worker is open and ready to be timed."""
        name = trial.subject.name
        if name in self._open:
            self._open.move_to_end(name)
            return
        worker = Worker(threads=self._threads)
        self._open[name] = worker, 0
        trial.open(worker, self._threads)
        self._ready(trial)
        self.weigh(trial)

    def weigh(self, trial: Trial) -> None:
        """Note what the trial's worker holds now, and close those that waited longest until all fit."""
        name = trial.subject.name
        self._open[name] = self._open[name][0], trial.held()
        while len(self._open) > 1 and sum(held for _, held in self._open.values()) > self._most:
            self._open.popitem(last=False)[1][0].close()

    def drop(self, trial: Trial) -> None:
        """End the worker of a trial that failed."""
        if trial.subject.name in self._open:
            self._open.pop(trial.subject.name)[0].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker, _ in self._open.values():
            worker.close()


def bound() -> int:
    """Return how much the workers may hold here: MOST, or half of what is free."""
    free = system_info.read_sizes(system_info.MEMINFO_PATH).get("MemAvailable")
    return MOST if free is None else min(MOST, free // 2)
