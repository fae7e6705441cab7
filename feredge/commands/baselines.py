"""`feredge baselines`: the published classical systems, each by its study's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from feredge.commands.shared import AS_JSON, DATA, PATH, SKIP, bars
from feredge.console import echo, echo_json, echo_styled, rendered, visible

if TYPE_CHECKING:
    from feredge.baselines import Reproduction

RESULTS_FILE = "baselines.json"
FIGURES = {"train": "train", "test": "test", "cv": "folds", "held_out": "held out"}


@click.command("baselines")
@DATA
@click.option("--only", multiple=True, metavar="ID", help="Run this one only; may be given again.")
@click.option("--out", type=PATH, default="runs/baselines", show_default=True, help="Keep the files here.")
@AS_JSON
@SKIP
def command(data: str, only: tuple[str, ...], out: Path, as_json: bool, skip_bad_rows: bool) -> None:
    """Fit the published classical systems, and compare with the published figures.

    Each follows its study's own protocol. A system that is fitted already is taken from the folder.
    """
    from feredge import baselines, files
    from feredge.data import load

    for id in only:
        baselines.get_baseline(id)  # before the data are read: a typo is told at once
    with bars("reading the data") as progress:
        dataset = load(data, skip_bad_rows=skip_bad_rows)
        results = baselines.reproduce(dataset, only or None, cache=out, progress=progress)
    rows = [result.to_json() for result in results]
    files.write_json(out / RESULTS_FILE, rows)
    if as_json:
        echo_json(rows, indent=2)
    else:
        _show(results)
        echo(f"results: {(out / RESULTS_FILE).absolute()}")


def _show(results: list[Reproduction]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("system", "figure", "published", "here", "fit", "size", box=box.SIMPLE_HEAD, show_edge=False)
    for result in results:
        beside = [f"{result.seconds:.0f} s", f"{result.bytes / 1e6:.1f} MB"]
        for name, label in FIGURES.items():
            if name in result.measured:
                ours = f"{result.measured[name]:.2%}"
                theirs = f"{result.published[name]:.2%}" if name in result.published else "-"
                table.add_row(Text("" if not beside else visible(result.id)), label, theirs, ours, *beside)
                beside = []
    echo_styled(rendered(table))
    for note, ids in _notes(results).items():
        echo(f"{', '.join(ids)}: {note}")


def _notes(results: list[Reproduction]) -> dict[str, list[str]]:
    """Return what was done otherwise than published, and for which systems."""
    notes: dict[str, list[str]] = {}
    for result in results:
        if result.deviation:
            notes.setdefault(result.deviation, []).append(result.id)
    return notes
