"""`feredge baselines`: the published scikit-learn classifiers, each by its study's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

import feredge
from feredge.commands.shared import DATA_OPTION, JSON_OPTION, PATH_TYPE, SKIP_BAD_ROWS_OPTION, bars
from feredge.console import echo, echo_json, echo_table

if TYPE_CHECKING:
    from feredge.baselines import Reproduction

FIGURE_LABELS = {"train": "train", "test": "test", "cv": "folds", "held_out": "held out"}


@click.command("baselines")
@DATA_OPTION
@click.option("--only", multiple=True, metavar="ID", help="Fit only this classifier; may be repeated.")
@click.option("--out", type=PATH_TYPE, default="runs/baselines", show_default=True, help="Folder for the fitted files.")
@JSON_OPTION
@SKIP_BAD_ROWS_OPTION
def command(data: str, only: tuple[str, ...], out: Path, as_json: bool, skip_bad_rows: bool) -> None:
    """Fit the scikit-learn classifiers that studies on FER2013 published, and compare with their figures.

    Each follows its study's own protocol; the IDs stand in benchmarks/published.md.
    Classifiers already fitted in --out on the same data are reused.
    """
    with bars("reading the data") as progress:
        result = feredge.baselines(data, only=only, out=out, skip_bad_rows=skip_bad_rows, progress=progress)
    if as_json:
        echo_json([one.to_json() for one in result.systems], indent=2)
    else:
        _print_table(result.systems)
        echo(f"results: {result.results_file.absolute()}")


def _print_table(systems: Sequence[Reproduction]) -> None:
    rows = []
    for one in systems:
        first = True
        for name, label in FIGURE_LABELS.items():
            if name not in one.measured:
                continue
            published = f"{one.published[name]:.2%}" if name in one.published else "-"
            figures = label, published, f"{one.measured[name]:.2%}"
            once = (f"{one.seconds:.0f} s", f"{one.bytes / 1e6:.1f} MB") if first else ("", "")
            rows.append((one.id if first else "", *figures, *once))
            first = False
    echo_table(("system", "figure", "published", "measured", "fit time", "size"), rows)
    for note, ids in _deviations(systems).items():
        echo(f"{', '.join(ids)}: {note}")


def _deviations(systems: Sequence[Reproduction]) -> dict[str, list[str]]:
    """Return each deviation from a published protocol, with the systems that have it."""
    deviations: dict[str, list[str]] = {}
    for one in systems:
        if one.deviation:
            deviations.setdefault(one.deviation, []).append(one.id)
    return deviations
