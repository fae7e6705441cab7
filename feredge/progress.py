"""How long work tells what it is doing: library functions call a `Progress`, only the command line shows it."""

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
"""Longest time without a line about what is going on."""


class Progress(Protocol):
    """Called as work goes on."""

    def __call__(self, task: str, done: float, total: float, note: str = "") -> None:
        """Say that `done` of `total` steps of `task` are done; `note` is shown beside the bar."""
        ...


def quiet(task: str, done: float, total: float, note: str = "") -> None:
    """Show nothing."""


class Heartbeat:
    """Says on standard error, after each `period` seconds of silence, what is going on and for how long."""

    def __init__(self, activity: str, period: float, stream: TextIO) -> None:
        self._activity = activity
        self._period = period
        self._stream = stream
        self._began = self._last = monotonic()
        self._over = threading.Event()

    def printed(self, activity: str) -> None:
        """Note that something was just printed, and what is going on from now on."""
        if activity != self._activity:
            self._began = monotonic()
        self._activity, self._last = activity, monotonic()

    def stop(self) -> None:
        """Print nothing from now on."""
        self._over.set()

    def run(self) -> None:
        """Print until it is stopped."""
        while not self._over.wait(max(0.0, self._last + self._period - monotonic())):
            now = monotonic()
            if now - self._last >= self._period:
                self._last = now
                line = f"{time.strftime('%H:%M:%S')}  {self._activity}, still at it after {now - self._began:.0f} s"
                echo(line, stream=self._stream)


@contextmanager
def heartbeat(activity: str, period: float = SILENCE_SECONDS) -> Iterator[Heartbeat]:
    """Let a thread print what is going on wherever nothing else is printed for `period` seconds."""
    with _own_stderr() as stream:
        beat = Heartbeat(activity, period, stream)
        thread = threading.Thread(target=beat.run, daemon=True)
        thread.start()
        try:
            yield beat
        finally:
            beat.stop()
            thread.join()


@contextmanager
def _own_stderr() -> Iterator[TextIO]:
    """Give a copy of standard error, which still works while native code's is sent nowhere."""
    if sys.stderr is not sys.__stderr__:  # somebody collects what is printed
        yield sys.stderr
        return
    with os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace") as stream:
        yield stream
