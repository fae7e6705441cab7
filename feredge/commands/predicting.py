"""What the commands that predict share: options, opening the Predictor, a progress bar."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feredge.commands.shared import MARK, PATH, options
from feredge.console import echo, progress_bar
from feredge.errors import PictureError

if TYPE_CHECKING:
    from feredge.inference.predictor import Predictor
    from feredge.progress import Progress


PREDICTOR = options(
    click.option("--model", type=PATH, help="A file, exported folder or name.  [default: feredge's own]"),
    click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: every core]"),
    click.option("--face", is_flag=True, help="Each picture is one face; do not look for faces in it."),
    click.option(
        "--margin",
        type=click.FloatRange(-50, 400),
        default=0.0,
        metavar="PERCENT",
        help="Enlarge the square around each found face.",
    ),
    click.option("--yunet", type=PATH, help="Find faces by this YuNet file instead of OpenCV's Haar cascade."),
)


def open_predictor(
    model: Path | None, threads: int | None, yunet: Path | None, *, reads_pictures: bool = True
) -> Predictor:
    """Open the Predictor that the options ask for.

    Raises:
        PictureError: OpenCV is needed and cannot be imported: better told once than of each picture.
    """
    # One damaged picture among many is told in its row; OpenCV and FFmpeg would tell it here as well.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from feredge.inference.pictures import opencv
    from feredge.inference.predictor import Predictor

    if reads_pictures:
        opencv()
    return Predictor(model, threads=threads, detector=yunet)


def write_table(predictor: Predictor, pictures: list[str], table: Path, **options: Any) -> None:
    """Write pictures' labels into a table, with the options of `predict_pictures`; say what is in it.

    Raises:
        PictureError: no picture could be used.
    """
    from feredge.label.predict import predict_pictures

    click.get_current_context().meta[MARK] = True
    with bar() as progress:
        state = predict_pictures(predictor, pictures, table, progress=progress, **options)
    failed = f", {state.failed:,} could not be used" if state.failed else ""
    echo(f"{state.pictures:,} pictures, {state.faces:,} faces{failed}: {table}")
    if state.failed == state.pictures:
        raise PictureError("expected pictures, none could be used; the table says why")


@contextmanager
def bar() -> Iterator[Progress]:
    """Give a Progress that shows one bar on standard error, where that is a terminal."""
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
