"""Cancellation of a function by a callable that is polled between steps."""

from __future__ import annotations

from collections.abc import Callable

from feredge.errors import Cancelled
from feredge.progress import Progress

Cancel = Callable[[], bool]
"""Returns True when the work is to stop, such as `threading.Event().is_set`."""


def cancellable(progress: Progress, cancel: Cancel | None) -> Progress:
    """Return a Progress that polls `cancel`, then calls `progress`.

    Progress is reported between steps, never within an operation that must not be interrupted.

    Raises:
        Cancelled: by the returned Progress, once `cancel` returns True.
    """
    if cancel is None:
        return progress

    def checked(task: str, done: float, total: float, note: str = "") -> None:
        if cancel():
            raise Cancelled(f"cancelled at {task} {done:.9g}/{total:.9g}")
        progress(task, done, total, note)

    return checked
