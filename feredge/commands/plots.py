"""`feredge plots`: every picture of a trained run."""

from __future__ import annotations

from pathlib import Path

import click

from feredge.commands.shared import DATA_AGAIN, PATH, bars
from feredge.console import echo


@click.command("plots")
@click.argument("run", type=PATH)
@DATA_AGAIN
def command(run: Path, data: str | None) -> None:
    """Draw a trained run's curves, confusion, scores, faces and mistakes.

    They go into RUN/pictures, with a classification report as text and JSON.
    """
    from feredge.plots import draw
    from feredge.run import RunFolder

    folder = RunFolder.open(run, trained=True)
    dataset = folder.load_data(data)
    with bars() as progress:
        drawn = draw(folder, dataset, progress=progress)
    echo(f"{len(drawn)} files: {folder.pictures}")
