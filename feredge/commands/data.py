"""`feredge data`: what stands in a data set."""

from __future__ import annotations

from pathlib import Path

import click

from feredge.commands.shared import AS_JSON, PATH, SKIP
from feredge.console import echo, echo_json, echo_lines


@click.group("data")
def command() -> None:
    """Look at a data set."""


@command.command("info")
@click.argument("path")
@click.option("--picture", type=PATH, help="Write one face of each class to this file.")
@AS_JSON
@SKIP
def info(path: str, picture: Path | None, as_json: bool, skip_bad_rows: bool) -> None:
    """Count images by split and class."""
    from feredge import data as room

    dataset = room.load(path, skip_bad_rows=skip_bad_rows)
    if picture:  # first, because a name that is no picture's is refused
        room.write_one_of_each(dataset, picture)
    found = room.info(dataset)
    if as_json:
        echo_json(found.to_json(), indent=2)
    else:
        echo_lines(found.to_text())
    if picture:
        echo(f"one face of each class: {picture}", err=as_json)


@command.command("check")
@click.argument("path")
@AS_JSON
@SKIP
def check(path: str, as_json: bool, skip_bad_rows: bool) -> None:
    """Find duplicates, conflicting labels and constant images."""
    from feredge import data as room

    findings = room.check(room.load(path, skip_bad_rows=skip_bad_rows))
    if as_json:
        echo_json(findings.to_json(), indent=2)
    else:
        echo_lines(findings.to_text())
