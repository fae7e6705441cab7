"""`feredge verify`: check a folder of exported files again."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

import feredge
from feredge.commands.shared import JSON_OPTION, PATH_TYPE
from feredge.console import echo, echo_json

if TYPE_CHECKING:
    from feredge.api.verifying import VerifyResult


@click.command("verify")
@click.argument("folder", type=PATH_TYPE)
@JSON_OPTION
def command(folder: Path, as_json: bool) -> None:
    """Check a folder of exported files again: digests, contents, metadata, and outputs.

    FOLDER holds a manifest.json, or is a run folder, or a name of `feredge models`. Each file's outputs on 64 fixed
    images must match those stored in probes.npz, within a tolerance for differences between CPUs. All files that fail
    are listed; if any does, the exit code is 1.
    """
    result = feredge.verify(folder)
    if as_json:
        checks, not_exported = (list(map(asdict, items)) for items in (result.checks, result.not_exported))
        echo_json({"checks": checks, "not_exported": not_exported}, indent=2)
    else:
        _print_checks(result)
    if result.failures:
        sys.exit(1)


def _print_checks(result: VerifyResult) -> None:
    for failed in result.not_exported:
        echo(f"not exported: {failed.file}: {failed.reason}", err=True)
    for check in result.checks:
        if not check.failure:
            echo(f"{check.sha256[:12]}  {check.file}")
    for failure in result.failures:
        echo(f"error: {failure}", err=True)
    if not result.failures:
        echo(f"verified: {len(result.checks)} files")
