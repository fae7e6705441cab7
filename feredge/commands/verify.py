"""`feredge verify`: check a folder of exported files again."""

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
    """Check a folder of exported files again: digests, contents, metadata, and outputs.

    FOLDER holds a manifest.json, or is a run folder, or a name of `feredge models`. Each file's outputs on 64 fixed
    images must match those stored in probes.npz, within a tolerance for differences between CPUs. All files that fail
    are listed; if any does, the exit code is 1.
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
