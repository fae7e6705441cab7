"""`feredge recipes`: the recipes that come with feredge."""

from __future__ import annotations

import click

import feredge
from feredge.commands.shared import JSON_OPTION
from feredge.console import echo, echo_json


@click.command("recipes")
@JSON_OPTION
def command(as_json: bool) -> None:
    """List the recipes that come with feredge."""
    names = feredge.recipes()
    if as_json:
        echo_json(list(names), indent=2)
        return
    for name in names:
        echo(name)
