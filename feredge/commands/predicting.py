"""Shared by the commands that predict: options of the Predictor, a progress bar, the summary of a table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feredge.api.predictor_options import PredictorOptions
from feredge.commands.shared import (
    CLASSES_OPTION,
    INPUT_RANGE_OPTION,
    PATH_TYPE,
    RESUMABLE_KEY,
    PixelRange,
    options,
    split_names,
)
from feredge.console import echo, progress_bar
from feredge.errors import PictureError

if TYPE_CHECKING:
    from feredge.api.labelling import LabelResult
    from feredge.progress import Progress

MODEL_OPTION = click.option(
    "--model",
    type=PATH_TYPE,
    help="A model file, a folder of exported files, or a name of `feredge models`.  [default: the built-in nano]",
)
THREADS_OPTION = click.option("--threads", type=click.IntRange(1), help="Number of CPU threads.  [default: all cores]")
FOREIGN_OPTIONS = (
    click.option(
        CLASSES_OPTION,
        callback=split_names,
        help="Class names of a model file that feredge did not write, comma-separated, in the order of its outputs.",
    ),
    click.option(
        INPUT_RANGE_OPTION,
        type=PixelRange(),
        default="0..1",
        show_default=True,
        help="Input values of black and white pixels of such a file.",
    ),
    click.option("--output", default="", metavar="NAME", help="Output of such a file that has several."),
)
_PREDICTOR_OPTIONS = options(
    MODEL_OPTION,
    THREADS_OPTION,
    click.option(
        "--cropped/--detect",
        "--whole",
        "cropped",
        default=None,
        help="Classify each picture as a whole, such as one cropped face, or detect the faces in it.  [default: detect "
        "for networks of faces]",
    ),
    click.option(
        "--margin",
        type=click.FloatRange(-50, 400),
        default=0.0,
        metavar="PERCENT",
        help="Enlarge the square around each detected face by this percentage; negative shrinks it.",
    ),
    *FOREIGN_OPTIONS,
    click.option("--yunet", type=PATH_TYPE, help="Detect faces with this YuNet file instead of OpenCV's Haar cascade."),
    click.option(
        "--unsure",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        metavar="PRECISION",
        help="Label faces `unsure` so that at least this fraction of the others is right; needs `feredge calibrate`.",
    ),
)


def with_predictor_options(function: Callable[..., Any]) -> Any:
    """Add the options of a Predictor to a command, passed as its argument `options`."""

    @_PREDICTOR_OPTIONS
    @functools.wraps(function)
    def command(
        *arguments: Any,
        model: Path | None,
        threads: int | None,
        cropped: bool | None,
        margin: float,
        yunet: Path | None,
        unsure: float | None,
        classes: tuple[str, ...],
        input_range: tuple[float, float],
        output: str,
        **command_options: Any,
    ) -> Any:
        predictor = PredictorOptions(
            model, threads, cropped, margin / 100, yunet, classes, input_range, output, unsure or False
        )
        return function(*arguments, options=predictor, **command_options)

    return command


def mark_resumable() -> None:
    """Mark the current command as one that resumes when it is run again after Ctrl-C."""
    click.get_current_context().meta[RESUMABLE_KEY] = True


def print_labels(result: LabelResult) -> None:
    """Print what is in a table of labels.

    Raises:
        PictureError: no picture could be used.
    """
    failed = f", {result.failed:,} could not be used" if result.failed else ""
    echo(f"{result.pictures:,} pictures, {result.faces:,} faces{failed}: {result.table}")
    if result.failed == result.pictures:
        raise PictureError("expected pictures, none could be used; the table has the reasons")


@contextmanager
def bar() -> Iterator[Progress]:
    """Yield a Progress that shows one bar on standard error, if that is a terminal."""
    shown: Any = None

    def progress(task: str, done: float, total: float, note: str = "") -> None:
        nonlocal shown
        if shown is None:
            shown = progress_bar(task, int(total) or None)
            shown.__enter__()
        shown.update(int(done) - shown.pos)

    try:
        yield progress
    finally:
        if shown is not None:
            shown.__exit__(None, None, None)
