"""`feredge recipes`: the recipes that come with feredge."""

from __future__ import annotations

import click


@click.command("recipes")
def command() -> None:
    """List the recipes that come with feredge."""
    from feredge import recipe

    for name in recipe.names():
        click.echo(name)
