"""`feredge recipes`: the recipes that come with feredge."""

from __future__ import annotations

import click


@click.command("recipes")
def command() -> None:
    """List the recipes that come with feredge."""
    from feredge import recipes

    for name in recipes.names():
        click.echo(name)
