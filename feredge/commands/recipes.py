"""`feredge recipes`: the recipes that come with feredge."""

from __future__ import annotations

import click

from feredge.console import echo


@click.command("recipes")
def command() -> None:
    """List the recipes that come with feredge."""
    from feredge import recipes

    for name in recipes.names():
        echo(name)
