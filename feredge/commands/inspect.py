"""`feredge inspect`: what is in a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import feredge
from feredge.commands.shared import JSON_OPTION, PATH_TYPE, note_unread_weights
from feredge.console import echo_json, echo_table


@click.command("inspect")
@click.argument("model", type=PATH_TYPE)
@JSON_OPTION
def command(model: Path, as_json: bool) -> None:
    """Show a model file's classes, input, weights and size, and the oldest runtime version known to run it.

    MODEL is a model file, a folder of exported files, a run folder, or a name of `feredge models`.
    """
    fields = feredge.inspect(model).fields
    note_unread_weights()
    if as_json:
        echo_json(fields, indent=2)
        return
    rows = ((name.replace("_", " "), _text(value)) for name, value in fields.items())
    echo_table(("field", "value"), rows, header=False)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return str(value)
