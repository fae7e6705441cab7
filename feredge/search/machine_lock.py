"""A lock on the machine: while one process measures a latency, the trainings of the others pause."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feredge.data.cache import make_cache_folder
from feredge.progress import Progress

try:
    import fcntl
except ImportError:  # Windows has no such locks: latencies are measured all the same
    fcntl = None  # type: ignore[assignment]


class MachineLock:
    """A lock that many processes share while they work, and that one holds alone while it measures.

    Two files keep a measurement from waiting for ever: workers pass the first before they take the second again.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or make_cache_folder()
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        self._gate, self._work = (os.open(folder / f"search-{name}.lock", flags, 0o600) for name in ("gate", "work"))

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock together with other workers during the block."""
        self._share()
        try:
            yield
        finally:
            self._lock(self._work, "LOCK_UN")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until all other workers pause, and hold the lock alone during the block, within `shared`."""
        self._lock(self._work, "LOCK_UN")
        self._lock(self._gate, "LOCK_EX")
        try:
            self._lock(self._work, "LOCK_EX")
            yield
        finally:
            self._lock(self._work, "LOCK_SH")
            self._lock(self._gate, "LOCK_UN")

    def pausing(self, progress: Progress) -> Progress:
        """Return a Progress that first waits, within `shared`, for measurements of other processes."""

        def paused(task: str, done: float, total: float, note: str = "") -> None:
            self._lock(self._work, "LOCK_UN")
            self._share()
            progress(task, done, total, note)

        return paused

    def close(self) -> None:
        """Release the lock."""
        os.close(self._gate)
        os.close(self._work)

    def _share(self) -> None:
        self._lock(self._gate, "LOCK_SH")
        self._lock(self._work, "LOCK_SH")
        self._lock(self._gate, "LOCK_UN")

    @staticmethod
    def _lock(handle: int, operation: str) -> None:
        if fcntl is not None:
            fcntl.flock(handle, getattr(fcntl, operation))
