"""`feredge bench`: a run's files, measured here."""

from __future__ import annotations

from pathlib import Path

import click

from feredge.cli import DATA_AGAIN, QUICK, RUN, measure


@click.command("bench")
@RUN
@DATA_AGAIN
@QUICK
@click.option("--no-baselines", is_flag=True, help="Leave the classical baselines out.")
def command(run: Path, data: str | None, quick: bool, no_baselines: bool) -> None:
    """Measure every file: accuracy, drop, size, latency."""
    from feredge.run import RunFolder

    folder = RunFolder.open(run, trained=True, exported=True)
    measure(folder, folder.load_data(data), quick=quick, baselines=not no_baselines)
