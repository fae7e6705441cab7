"""What several commands share: options, bars for progress, what they say in the same words."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feredge.console import echo, echo_styled, progress_display, visible
from feredge.progress import heartbeat

if TYPE_CHECKING:
    from feredge.benchmark import Results
    from feredge.progress import Heartbeat, Progress

LINE_EVERY = 30.0  # seconds between a task's lines in a log
MARK = "feredge.goes_on"  # set in the context by a command that goes on where it was after Ctrl-C


def options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Join several click decorators into one."""

    def decorate(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


PATH = click.Path(path_type=Path)
DATA = click.option("--data", required=True, help="FER2013 csv, class folder, or `drawn` for built-in faces.")
DATA_AGAIN = click.option("--data", help="Where the run's data are now, if they have moved.")
LEAVE_OUT = click.option(
    "--leave-out",
    type=PATH,
    help="A text of row numbers from 0 that neither train nor choose, as they stand in a test set elsewhere.",
)
SKIP = click.option("--skip-bad-rows", is_flag=True, help="Count bad csv rows and go on without them.")
NO_FACES = click.option("--no-faces", is_flag=True, help="Leave the pictures of people out of the page.")
QUICK = click.option("--quick", is_flag=True, help="Fewer timed runs; the result says so.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@contextmanager
def bars(activity: str = "preparing") -> Iterator[Progress]:
    """Give a Progress that shows one bar a task on standard error; where that is no terminal, lines for a log.

    Where nothing is printed for 10 s, a line says what is going on: `activity` before the first task.
    """
    with heartbeat(activity) as beat:
        if not sys.stderr.isatty():
            yield _lines(beat)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        display = progress_display(*columns)
        tasks: dict[str, Any] = {}

        def progress(task: str, done: float, total: float, note: str = "") -> None:
            task, note = visible(task), visible(note)
            if task not in tasks:
                beat.stop()  # the bars' own clocks tick
                display.start()  # not before: a display without bars would leave an empty line above an error
                tasks[task] = display.add_task(task, total=total, note=note)
            display.update(tasks[task], completed=done, total=total, note=note)

        try:
            yield progress
        finally:
            if tasks:
                display.stop()


def _lines(beat: Heartbeat) -> Progress:
    """Return a Progress that prints a line when a task begins, every half minute, and when it is done."""
    shown: dict[str, tuple[float, bool]] = {}

    def progress(task: str, done: float, total: float, note: str = "") -> None:
        now, (last, finished) = time.monotonic(), shown.get(task, (-math.inf, False))
        if not finished and (done >= total or now - last >= LINE_EVERY):
            shown[task] = now, done >= total
            steps = f"{round(done, 1):.9g}/{total:.9g}"
            echo(f"{time.strftime('%H:%M:%S')}  {task} {steps}  {note}".rstrip(), err=True)
            beat.printed(task)

    return progress


def note_unread() -> None:
    """Say on standard error that the weights in a file were not looked at, where what reads them is not there."""
    if importlib.util.find_spec("onnx") is None:
        echo("the weights were not looked at: that needs pip install 'feredge[workshop]'", err=True)


def show(results: Results, page: Path) -> None:
    """Print the table, and where the page is."""
    from feredge import report

    echo_styled(report.to_terminal(results))  # leaves the colours out where nobody sees them
    echo(f"report: {page.absolute()}")
