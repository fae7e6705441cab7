"""`feredge label`: classify the faces in very many pictures into a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

import feredge
from feredge.commands.predicting import bar, mark_resumable, print_labels, with_predictor_options
from feredge.commands.shared import PATH_TYPE

if TYPE_CHECKING:
    from feredge.api.predictor_options import PredictorOptions

RAY_WORKERS = 2


@click.command("label")
@click.argument("pictures", nargs=-1, type=click.Path())
@click.option("--list", "lists", multiple=True, type=PATH_TYPE, help="Text file with one picture path per line.")
@click.option("--out", type=PATH_TYPE, required=True, help="Path of the table: .csv, or .parquet with pyarrow.")
@with_predictor_options
@click.option(
    "--engine",
    type=click.Choice(["threads", "ray"]),
    default="threads",
    show_default=True,
    help="Process pictures in threads, or in Ray processes, also on a cluster.",
)
@click.option("--workers", type=click.IntRange(1), help=f"Number of Ray processes.  [default: {RAY_WORKERS}]")
@click.option("--address", help="Address of a Ray cluster.  [default: start a local one]")
def command(
    pictures: tuple[str, ...],
    lists: tuple[Path, ...],
    out: Path,
    engine: Literal["threads", "ray"],
    workers: int | None,
    address: str | None,
    options: PredictorOptions,
) -> None:
    """Classify the faces in many pictures into a table with one row per face.

    PICTURES are files and folders. After an interruption, the same command resumes where it stopped.
    """
    if engine != "ray" and (address or workers):
        raise click.UsageError(f"{'--address' if address else '--workers'} requires --engine ray")
    if engine == "ray" and options.threads:
        raise click.UsageError("--threads requires --engine threads; with ray each process uses one thread")
    mark_resumable()
    with bar() as progress:
        result = feredge.label(
            pictures,
            out=out,
            lists=lists,
            options=options,
            engine=engine,
            workers=workers or RAY_WORKERS,
            address=address,
            progress=progress,
        )
    print_labels(result)
