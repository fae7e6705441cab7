"""`feredge inspect`: what is in a model file."""

from __future__ import annotations

import json
from pathlib import Path

import click

import feredge
from feredge.commands.shared import JSON_OPTION, PATH_TYPE, note_unread_weights
from feredge.console import echo, echo_json


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
    width = max(map(len, fields))
    for name, value in fields.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        if isinstance(value, dict):
            text = json.dumps(value)
        echo(f"{name.replace('_', ' '):{width}}  {text}")
