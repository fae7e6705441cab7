"""The command line: each command parses, calls one library function, prints."""

from __future__ import annotations

import click


@click.group()
def main() -> None:
    """Take a facial-expression network to a device, and see what was lost."""
