"""`feredge verify`: an exported folder, checked again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import feredge
from feredge.commands.shared import PATH_TYPE
from feredge.console import echo


@click.command("verify")
@click.argument("folder", type=PATH_TYPE)
def command(folder: Path) -> None:
    """Check an exported folder again: digests, contents, metadata, and outputs.

    FOLDER holds a manifest.json, or is a run folder, or a name of `feredge models`. Every file predicts the 64 probe
    images whose outputs are stored in probes.npz, within the differences between CPUs. Every bad file is named; one
    ends the command with 1.
    """
    result = feredge.verify(folder)
    for failed in result.not_exported:
        echo(f"not exported: {failed.file}: {failed.reason}", err=True)
    for check in result.checks:
        if not check.failure:
            echo(f"{check.sha256[:12]}  {check.file}")
    for failure in result.failures:
        echo(f"error: {failure}", err=True)
    if result.failures:
        sys.exit(1)
    echo(f"verified: {len(result.checks)} files")
