"""`feredge soft-labels`: soft labels from trained runs, from people's votes, or from both."""

from __future__ import annotations

from pathlib import Path

import click

import feredge
from feredge.commands.shared import LEAVE_OUT_OPTION, PATH_TYPE, bars
from feredge.console import echo


@click.command("soft-labels")
@click.argument("runs", nargs=-1, type=PATH_TYPE, metavar="[RUN...]")
@click.option(
    "--votes", type=PATH_TYPE, help="FER+ votes on the csv's pictures, fer2013new.csv: they count as one more RUN."
)
@click.option("--data", help="Where the runs' data are now, if they have moved; needed without a RUN.")
@LEAVE_OUT_OPTION
@click.option("--out", required=True, type=PATH_TYPE, help="The file of soft labels, npz.")
def command(runs: tuple[Path, ...], votes: Path | None, data: str | None, leave_out: Path | None, out: Path) -> None:
    """Average the logits of trained runs on the training images, for `feredge train --soft-labels`.

    Each RUN predicts every image and its mirror image.
    """
    with bars("opening TensorFlow") as progress:
        result = feredge.soft_labels(runs, out=out, votes=votes, data=data, leave_out=leave_out, progress=progress)
    sources = [f"{result.networks} network{'s' * (result.networks > 1)}"] * bool(result.networks)
    sources += ["people's votes"] * result.votes
    echo(f"soft labels: {result.images} images by {' and '.join(sources)}, {result.path}")
