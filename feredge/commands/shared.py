"""Shared by several commands: options and their types, progress bars, printed results."""

from __future__ import annotations

import importlib.util
import logging
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import feredge
from feredge.console import echo, echo_styled, escape_control, progress_display
from feredge.dataclass_io import nearest
from feredge.progress import heartbeat

if TYPE_CHECKING:
    from feredge.benchmark import Results
    from feredge.progress import Heartbeat

LOG_INTERVAL_SECONDS = 30.0  # between a task's lines in a log
RESUMABLE_KEY = "feredge.resumable"  # set in the context by a command that resumes when run again after Ctrl-C


def options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Join several click decorators into one."""

    def decorate(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def complete_recipe(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the recipes that a shell offers for what was typed so far."""
    return [name for name in feredge.recipes() if name.startswith(incomplete)]


class SuggestingGroup(click.Group):
    """A command group whose error for an unknown command names the nearest one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"expected a command, found {name!r}{nearest(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


class PixelRange(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.3 up
    """Two different numbers: `-1..1`."""

    name = "BLACK..WHITE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Read the text of an option."""
        if isinstance(value, tuple):  # a default, converted already
            return value
        number = r"[-+]?\d+(?:\.\d+)?"
        match = re.fullmatch(rf"({number})\.\.({number})", str(value).strip())
        if not match or float(match[1]) == float(match[2]):
            self.fail(f"expected the values of black and white, as -1..1, found {value!r}", param, ctx)
        return float(match[1]), float(match[2])


class PixelNormalization(PixelRange):
    """A range of pixels, or the mean and deviation of each channel: `-1..1`, `0.5/0.25`, `imagenet`."""

    name = "BLACK..WHITE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text of an option."""
        text = str(value).strip()
        if isinstance(value, tuple) or text == "imagenet":
            return value
        if "/" not in text:
            return super().convert(value, param, ctx)
        try:
            mean, deviation = (tuple(float(number) for number in part.split(",")) for part in text.split("/"))
        except ValueError:
            self.fail(f"expected MEAN/DEVIATION, as 0.5/0.25 or 0.5,0.4,0.3/0.2,0.2,0.2, found {value!r}", param, ctx)
        return mean, deviation


class PixelSize(click.ParamType):  # type: ignore[type-arg]
    """Height and width: `64x64`."""

    name = "HEIGHTxWIDTH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read the text of an option."""
        if isinstance(value, tuple):  # a default, converted already
            return value
        match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", str(value).strip())
        if not match:
            self.fail(f"expected HEIGHTxWIDTH, as 64x64, found {value!r}", param, ctx)
        return int(match[1]), int(match[2])


def split_names(ctx: click.Context, param: click.Parameter, value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the names in an option's text, or in those of an option that may be repeated, with commas between."""
    texts = value if isinstance(value, tuple) else (value or "",)
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())


PATH_TYPE = click.Path(path_type=Path)
DATA_OPTION = click.option(
    "--data",
    required=True,
    help="FER2013 csv, folder with one subfolder per class, `drawn` for synthetic faces, or `drawn-shapes` for "
    "synthetic pictures in colour.",
)
MOVED_DATA_OPTION = click.option("--data", help="Path of the run's data, if moved since training.")
LEAVE_OUT_OPTION = click.option(
    "--leave-out",
    type=PATH_TYPE,
    help="Text file of csv row numbers (the first is 0) to exclude from training and validation, because they also "
    "occur in an external test set.",
)
SKIP_BAD_ROWS_OPTION = click.option(
    "--skip-bad-rows", is_flag=True, help="Skip invalid csv rows and report how many there were."
)
NO_FACES_OPTION = click.option("--no-faces", is_flag=True, help="Omit images of people from the HTML report.")
QUICK_OPTION = click.option("--quick", is_flag=True, help="Fewer timed runs; the results are marked as quick.")
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
INPUT_RANGE_OPTION = "--input-range"
CLASSES_OPTION = "--classes"


class LogLines(logging.Handler):
    """Prints what library functions log, one line each, on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        echo(record.getMessage(), err=True)


@contextmanager
def log_lines() -> Iterator[None]:
    """Print what the functions behind the commands log during the block."""
    logger, handler = logging.getLogger("feredge.api"), LogLines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class Bars:
    """A Progress that shows one bar per task on standard error, which is a terminal."""

    def __init__(self, beat: Heartbeat) -> None:
        self._beat = beat
        self._display: Any = None
        self._tasks: dict[str, Any] = {}

    def __call__(self, task: str, done: float, total: float, note: str = "") -> None:
        """Show that `done` of `total` steps of `task` are done."""
        task, note = escape_control(task), escape_control(note)
        if self._display is None:
            self._beat.stop()  # the bars' own clocks tick
            self._display = _new_display()
            self._display.start()
        if task not in self._tasks:
            self._tasks[task] = self._display.add_task(task, total=total, note=note)
        self._display.update(self._tasks[task], completed=done, total=total, note=note)

    def finish(self) -> None:
        """Leave the bars as they are, so that lines can be printed; later tasks get new ones."""
        if self._display is not None:
            self._display.stop()
        self._display, self._tasks = None, {}


class LogBars:
    """A Progress that prints a line when a task begins, every half minute, and when it is done."""

    def __init__(self, beat: Heartbeat) -> None:
        self._beat = beat
        self._printed: dict[str, tuple[float, bool]] = {}

    def __call__(self, task: str, done: float, total: float, note: str = "") -> None:
        """Print a line if one is due."""
        now, (last, finished) = time.monotonic(), self._printed.get(task, (-math.inf, False))
        if not finished and (done >= total or now - last >= LOG_INTERVAL_SECONDS):
            self._printed[task] = now, done >= total
            steps = f"{round(done, 1):.9g}/{total:.9g}"
            echo(f"{time.strftime('%H:%M:%S')}  {task} {steps}  {note}".rstrip(), err=True)
            self._beat.printed(task)

    def finish(self) -> None:
        """Do nothing: lines stay as they are."""


@contextmanager
def bars(activity: str = "preparing") -> Iterator[Bars | LogBars]:
    """Yield a Progress for standard error: bars in a terminal, else lines for a log.

    When nothing is printed for 10 s, a line names the current task, or `activity` before the first.
    """
    with heartbeat(activity) as beat:
        progress = Bars(beat) if sys.stderr.isatty() else LogBars(beat)
        try:
            yield progress
        finally:
            progress.finish()


def _new_display() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    return progress_display(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )


def note_unread_weights() -> None:
    """Print on standard error that the weights in a file were not read, where the readers are not installed."""
    if importlib.util.find_spec("onnx") is None:
        echo("the weights were not read: that needs pip install 'feredge[workshop]'", err=True)


def print_results(results: Results, page: Path | None) -> None:
    """Print the table, and the path of the HTML report."""
    from feredge.report import to_terminal

    echo_styled(to_terminal(results))  # without colours if the output is not a terminal
    if page is not None:
        echo(f"report: {page.absolute()}")
