"""`feredge calibrate`: thresholds below which a file's prediction is `unsure`."""

from __future__ import annotations

from pathlib import Path

import click

import feredge
from feredge.api.calibrating import DEFAULT_PRECISIONS
from feredge.commands.shared import MOVED_DATA_OPTION, PATH_TYPE, bars
from feredge.console import echo, visible


@click.command("calibrate")
@click.argument("target", type=PATH_TYPE, metavar="RUN")
@click.option(
    "--precision",
    "precisions",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    multiple=True,
    default=DEFAULT_PRECISIONS,
    show_default=True,
    help="Promised fraction of correct predictions; may be repeated.",
)
@MOVED_DATA_OPTION
@click.option(
    "--images",
    metavar="PATH",
    help="Labelled images that the network was not trained on, such as your device's, instead of the run's validation "
    "images.",
)
def command(target: Path, precisions: tuple[float, ...], data: str | None, images: str | None) -> None:
    """Choose for each exported file the confidence below which its prediction is `unsure`.

    RUN is a run folder, a folder of exported files or a name of `feredge models`; the last two need --images. A
    threshold promises that, of the predictions above it, at least the given fraction is correct on images like those it
    was chosen on, with a probability of 95%. The thresholds are written to thresholds.json beside the files; `--unsure
    PRECISION` of `predict`, `label`, `track` and `serve` applies them.
    """
    with bars() as progress:
        result = feredge.calibrate(target, precisions=precisions, data=data, images=images, progress=progress)
    width = max(len(visible(table.file)) for table in result.thresholds.values())
    for table in result.thresholds.values():
        for level in table.levels:
            if level.threshold is None:
                answer = f"no threshold reaches it; shown is at most {level.lower_bound:.3f}"
            else:
                answer = f"threshold {level.threshold:.2f}, answers {level.coverage:.0%} of {table.images:,} images"
            echo(f"{visible(table.file):{width}}  precision {level.precision:g}: {answer}")
    echo(f"thresholds: {visible(str(result.path))}")
