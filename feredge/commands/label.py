"""`feredge label`: hundreds of thousands of pictures into a table, in threads or on Ray."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from feredge.commands.predicting import PREDICTOR, open_predictor, write_table
from feredge.commands.shared import PATH
from feredge.console import echo


@click.command("label")
@click.argument("pictures", nargs=-1, type=click.Path())
@click.option("--list", "lists", multiple=True, type=PATH, help="A text file of one picture a line.")
@click.option("--out", "table", type=PATH, required=True, help="The table: .csv, or .parquet with pyarrow.")
@PREDICTOR
@click.option("--engine", type=click.Choice(["threads", "ray"]), default="threads", show_default=True)
@click.option("--workers", type=click.IntRange(1), help="Processes of --engine ray.  [default: 2]")
@click.option("--address", help="Of a Ray cluster.  [default: start one here]")
def command(
    pictures: tuple[str, ...],
    lists: tuple[Path, ...],
    table: Path,
    engine: str,
    workers: int | None,
    address: str | None,
    model: Path | None,
    threads: int | None,
    yunet: Path | None,
    face: bool,
    margin: float,
) -> None:
    """Name the expressions in many pictures, a row a face.

    PICTURES are files and folders. Stopped in any way, the same command goes on where it was.
    """
    from feredge import files
    from feredge.label.sources import describe_skipped, list_pictures

    if engine != "ray" and (address or workers):
        raise click.UsageError(f"{'--address' if address else '--workers'} goes with --engine ray")
    if engine == "ray" and threads:
        raise click.UsageError("--threads goes with --engine threads; with ray each process takes one")
    files.check_target(table)  # before pictures are looked for, which takes long in large folders
    left_out = Counter[str]()
    names = list_pictures(pictures, lists=lists, skipped=left_out)
    if left_out:
        echo(describe_skipped(left_out), err=True)
    with open_predictor(model, threads, yunet) as predictor:
        run = None
        if engine == "ray":
            from feredge.label import ray_engine

            run = ray_engine.engine(
                predictor, workers=workers or 2, address=address, detect=not face, margin=margin / 100
            )
        write_table(predictor, names, table, detect=not face, margin=margin / 100, engine=run)
