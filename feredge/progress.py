"""Progress reporting: library functions call a `Progress`, only the command line shows it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Protocol, TextIO

from feredge.console import echo

SILENCE_SECONDS = 10.0
"""Longest time without output."""


class Progress(Protocol):
    """A callback for progress."""

    def __call__(self, task: str, done: float, total: float, note: str = "") -> None:
        """Report that `done` of `total` steps of `task` are done; `note` is shown beside the bar."""
        ...


def quiet(task: str, done: float, total: float, note: str = "") -> None:
    """Ignore progress."""


class Heartbeat:
    """Prints the current activity and its duration on standard error after each `period` seconds without output."""

    def __init__(self, activity: str, period: float, stream: TextIO) -> None:
        self._activity = activity
        self._period = period
        self._stream = stream
        self._start = self._last = monotonic()
        self._stopped = threading.Event()

    def printed(self, activity: str) -> None:
        """Record that something was printed, and the current activity."""
        if activity != self._activity:
            self._start = monotonic()
        self._activity, self._last = activity, monotonic()

    def stop(self) -> None:
        """Stop printing."""
        self._stopped.set()

    def run(self) -> None:
        """Print until it is stopped."""
        while not self._stopped.wait(max(0.0, self._last + self._period - monotonic())):
            now = monotonic()
            if now - self._last >= self._period:
                self._last = now
                line = f"{time.strftime('%H:%M:%S')}  {self._activity}, still running after {now - self._start:.0f} s"
                echo(line, stream=self._stream)


@contextmanager
def heartbeat(activity: str, period: float = SILENCE_SECONDS) -> Iterator[Heartbeat]:
    """Run a Heartbeat in a thread."""
    with _copied_stderr() as stream:
        beat = Heartbeat(activity, period, stream)
        thread = threading.Thread(target=beat.run, daemon=True)
        thread.start()
        try:
            yield beat
        finally:
            beat.stop()
            thread.join()


@contextmanager
def _copied_stderr() -> Iterator[TextIO]:
    """Yield a copy of standard error, which works while the file descriptor is redirected for native code."""
    if sys.stderr is not sys.__stderr__:  # captured by a test or caller
        yield sys.stderr
        return
    with os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace") as stream:
        yield stream
