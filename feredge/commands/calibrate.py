"""`feredge calibrate`: thresholds below which a file's prediction is `unsure`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

import feredge
from feredge.api.calibrating import DEFAULT_PRECISIONS
from feredge.commands.shared import JSON_OPTION, MOVED_DATA_OPTION, PATH_TYPE, bars
from feredge.console import echo, echo_json, echo_table, escape_control

if TYPE_CHECKING:
    from feredge.inference.abstention import FileThresholds, PrecisionThreshold


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
    "images; needed where those chose the weights or the layers in float32.",
)
@JSON_OPTION
def command(target: Path, precisions: tuple[float, ...], data: str | None, images: str | None, as_json: bool) -> None:
    """Choose for each exported file the confidence below which its prediction is `unsure`.

    Precision means the fraction of correct predictions among those that are given (selective accuracy).

    RUN is a run folder, a folder of exported files or a name of `feredge models`; the last two need --images. A
    threshold promises that, of the predictions with at least that confidence, at least the given fraction is correct on
    images like those it was chosen on, with a probability of 95%. The thresholds are written to thresholds.json beside
    the files; `--unsure PRECISION` of `predict`, `label`, `track` and `serve` applies them.
    """
    with bars() as progress:
        result = feredge.calibrate(target, precisions=precisions, data=data, images=images, progress=progress)
    if as_json:
        echo_json({sha256: asdict(table) for sha256, table in result.thresholds.items()}, indent=2)
        return
    columns = ("file", "images", "precision", "threshold", "coverage", "lower bound")
    rows = [(table, promised) for table in result.thresholds.values() for promised in table.levels]
    echo_table(columns, (_cells(table, promised) for table, promised in rows), right=columns[1:])
    if any(promised.threshold is None for _, promised in rows):
        echo(
            "none: no threshold was shown to reach the precision; the lower confidence bound of the precision is the "
            "highest of all thresholds tried"
        )
    echo(f"thresholds: {escape_control(str(result.path))}")


def _cells(table: FileThresholds, promised: PrecisionThreshold) -> tuple[str, ...]:
    threshold = "none" if promised.threshold is None else f"{promised.threshold:.2f}"
    figures = (
        f"{table.images:,}",
        f"{promised.precision:g}",
        threshold,
        f"{promised.coverage:.0%}",
        f"{promised.lower_bound:.3f}",
    )
    return table.file, *figures
