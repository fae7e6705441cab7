"""`feredge submit`: classify the faces of an unlabelled csv."""

from __future__ import annotations

from pathlib import Path

import click

import feredge
from feredge.commands.predicting import MODEL_OPTION, THREADS_OPTION, bar
from feredge.commands.shared import PATH_TYPE, SKIP_BAD_ROWS_OPTION
from feredge.console import echo


@click.command("submit")
@click.argument("data", type=PATH_TYPE, metavar="CSV")
@click.option(
    "--out", type=PATH_TYPE, required=True, metavar="CSV", help="Path of the csv to write: id,emotion for every row."
)
@MODEL_OPTION
@THREADS_OPTION
@SKIP_BAD_ROWS_OPTION
def command(data: Path, out: Path, model: Path | None, threads: int | None, skip_bad_rows: bool) -> None:
    """Classify the faces of a FER2013 csv into id,emotion, the format of Kaggle's FER2013 challenge.

    CSV has the column pixels and optionally id. Emotions are FER2013's numbers, 0 to 6.
    """
    with bar() as progress:
        result = feredge.submit(
            data, out=out, model=model, threads=threads, skip_bad_rows=skip_bad_rows, progress=progress
        )
    echo(f"{result.rows:,} rows: {result.path}")
