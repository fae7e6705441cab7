"""How long work tells what it is doing: library functions call a `Progress`, only the command line shows it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as work goes on."""

    def __call__(self, task: str, done: float, total: float, note: str = "") -> None:
        """Say that `done` of `total` steps of `task` are done; `note` is shown beside the bar."""
        ...


def quiet(task: str, done: float, total: float, note: str = "") -> None:
    """Show nothing."""
