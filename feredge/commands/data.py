"""`feredge data`: what stands in a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from feredge.commands.shared import AS_JSON, PATH, SKIP
from feredge.console import echo, echo_json, echo_lines

if TYPE_CHECKING:
    from feredge.data import Dataset


CLASS_NAMES = click.option(
    "--class-names",
    type=click.Choice(["source", "fer2013"]),
    default="source",
    show_default=True,
    help="fer2013: classes called 0 to 6, anger, happiness, ... are FER2013's; for training --set data.class_names.",
)


@click.group("data")
def command() -> None:
    """Look at a data set."""


@command.command("info")
@click.argument("path")
@click.option("--picture", type=PATH, help="Write one face of each class to this file.")
@AS_JSON
@CLASS_NAMES
@SKIP
def info(path: str, picture: Path | None, as_json: bool, class_names: str, skip_bad_rows: bool) -> None:
    """Count images by split and class."""
    from feredge import data as room

    dataset = _load(path, class_names, skip_bad_rows)
    if picture:  # first, because a name that is no picture's is refused
        room.write_sample_grid(dataset, picture)
    found = room.summarize(dataset)
    if as_json:
        echo_json(found.to_json(), indent=2)
    else:
        echo_lines(found.to_text())
    if picture:
        echo(f"one face of each class: {picture}", err=as_json)


@command.command("check")
@click.argument("path")
@AS_JSON
@CLASS_NAMES
@SKIP
def check(path: str, as_json: bool, class_names: str, skip_bad_rows: bool) -> None:
    """Find duplicates, conflicting labels and constant images."""
    from feredge import data as room

    findings = room.check(_load(path, class_names, skip_bad_rows))
    if as_json:
        echo_json(findings.to_json(), indent=2)
    else:
        echo_lines(findings.to_text())


def _load(path: str, class_names: str, skip_bad_rows: bool) -> Dataset:
    from feredge import data as room

    dataset = room.load(path, skip_bad_rows=skip_bad_rows)
    return room.fer2013_classes(dataset) if class_names == "fer2013" else dataset
