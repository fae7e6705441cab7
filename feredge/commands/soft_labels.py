"""`feredge soft-labels`: average trained runs, FER+ votes, or both into soft labels."""

from __future__ import annotations

from pathlib import Path

import click

import feredge
from feredge.commands.shared import LEAVE_OUT_OPTION, PATH_TYPE, bars
from feredge.console import echo


@click.command("soft-labels")
@click.argument("runs", nargs=-1, type=PATH_TYPE, metavar="[RUN...]")
@click.option(
    "--votes",
    type=PATH_TYPE,
    help="FER+ votes for the images of the csv (fer2013new.csv), whose logarithms are averaged with the RUNs' logits.",
)
@click.option("--data", help="Path of the runs' data, if moved since training; required if no RUN is given.")
@LEAVE_OUT_OPTION
@click.option("--out", required=True, type=PATH_TYPE, help="Path of the soft labels, .npz.")
def command(runs: tuple[Path, ...], votes: Path | None, data: str | None, leave_out: Path | None, out: Path) -> None:
    """Average the logits of trained runs on the training images, for `feredge train --soft-labels`.

    Each RUN predicts every image and its mirror image.
    """
    with bars("opening TensorFlow") as progress:
        result = feredge.soft_labels(runs, out=out, votes=votes, data=data, leave_out=leave_out, progress=progress)
    sources = [f"{result.networks} network{'s' * (result.networks > 1)}"] * bool(result.networks)
    sources += ["people's votes"] * result.votes
    echo(f"soft labels: {result.images} images by {' and '.join(sources)}, {result.path}")
