"""`feredge plots`: draw the plots of a trained run."""

from __future__ import annotations

from pathlib import Path

import click

import feredge
from feredge.commands.shared import MOVED_DATA_OPTION, PATH_TYPE, bars
from feredge.console import echo


@click.command("plots")
@click.argument("run", type=PATH_TYPE)
@MOVED_DATA_OPTION
def command(run: Path, data: str | None) -> None:
    """Draw a trained run's learning curves, confusion matrix, ROC curves, sample faces and misclassified faces.

    They are written to RUN/pictures, with a classification report as text and JSON.
    """
    with bars() as progress:
        result = feredge.plots(run, data=data, progress=progress)
    echo(f"{len(result.files)} files: {result.folder}")
