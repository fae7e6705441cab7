"""Stopping a function from outside: a callable that is polled between steps."""

from __future__ import annotations

from collections.abc import Callable

from feredge.errors import Cancelled
from feredge.progress import Progress

Cancel = Callable[[], bool]
"""Returns True once the work is to stop: `threading.Event().is_set` is one."""


def cancellable(progress: Progress, cancel: Cancel | None) -> Progress:
    """Return `progress`, which polls `cancel` first.

    Work reports progress between its steps, and outside of anything that must not be interrupted.

    Raises:
        Cancelled: from a call of what is returned, once `cancel` returns True.
    """
    if cancel is None:
        return progress

    def checked(task: str, done: float, total: float, note: str = "") -> None:
        if cancel():
            raise Cancelled(f"cancelled at {task} {done:.9g}/{total:.9g}")
        progress(task, done, total, note)

    return checked
