"""`feredge recipes`: the recipes that come with feredge."""

from __future__ import annotations

import click

import feredge
from feredge.console import echo


@click.command("recipes")
def command() -> None:
    """List the recipes that come with feredge."""
    for name in feredge.recipes():
        echo(name)
