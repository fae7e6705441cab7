"""`feredge data`: count and check the images of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import feredge
from feredge.commands.shared import JSON_OPTION, PATH_TYPE, SKIP_BAD_ROWS_OPTION, SuggestingGroup
from feredge.console import echo, echo_json, echo_lines, echo_table

if TYPE_CHECKING:
    from feredge.api.datasets import ClassNames

CLASS_NAMES_OPTION = click.option(
    "--class-names",
    type=click.Choice(["source", "fer2013"]),
    default="source",
    show_default=True,
    help="fer2013 maps classes named 0 to 6, anger, happiness, ... to FER2013's. For training, use --set "
    "data.class_names=fer2013.",
)


@click.group("data", cls=SuggestingGroup)
def command() -> None:
    """Count and check the images of a data set."""


@command.command("info")
@click.argument("path")
@click.option("--picture", type=PATH_TYPE, help="Write one image of each class to this file.")
@JSON_OPTION
@CLASS_NAMES_OPTION
@SKIP_BAD_ROWS_OPTION
def info(path: str, picture: Path | None, as_json: bool, class_names: ClassNames, skip_bad_rows: bool) -> None:
    """Count images by split and class, and show the pictures' size and whether they have colour."""
    summary = feredge.data_info(path, picture=picture, class_names=class_names, skip_bad_rows=skip_bad_rows).summary
    if as_json:
        echo_json(summary.to_json(), indent=2)
    else:
        echo_lines(summary.to_text())
        columns, rows = summary.to_table()
        echo_table(columns, rows, right=columns[1:])
    if picture:
        echo(f"one image of each class: {picture}", err=as_json)


@command.command("check")
@click.argument("path")
@JSON_OPTION
@CLASS_NAMES_OPTION
@SKIP_BAD_ROWS_OPTION
def check(path: str, as_json: bool, class_names: ClassNames, skip_bad_rows: bool) -> None:
    """Find duplicates, conflicting labels and constant images."""
    findings = feredge.data_check(path, class_names=class_names, skip_bad_rows=skip_bad_rows)
    if as_json:
        echo_json(findings.to_json(), indent=2)
    else:
        echo_lines(findings.to_text())
