"""`feredge verify`: check a folder of exported files, or a bundle, again."""

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
    """Check a folder of exported files, or a bundle, again: digests, contents, metadata, and outputs.

    FOLDER holds a manifest.json, or is a run folder, or a name of `feredge models`, or a bundle. Each file's outputs on
    64 fixed images must match those stored in probes.npz, within a tolerance for differences between CPUs. Of a bundle,
    every file must be what feredge writes from the model inside it, and its self-tests run where this machine can run
    them. All files that fail are listed; if any does, the exit code is 1.
    """
    result = feredge.verify(folder)
    if as_json:
        checks, not_exported = (list(map(asdict, items)) for items in (result.checks, result.not_exported))
        echo_json({"checks": checks, "not_exported": not_exported, "skipped": list(result.skipped)}, indent=2)
    else:
        _print_checks(result)
    if result.failures:
        sys.exit(1)


def _print_checks(result: VerifyResult) -> None:
    for failed in result.not_exported:
        echo(f"not exported: {failed.file}: {failed.reason}", err=True)
    for check in result.checks:
        if not check.failure:
            echo(f"{check.sha256[:12]:12}  {check.file}")
    for reason in result.skipped:
        echo(f"not run here: {reason}", err=True)
    for failure in result.failures:
        echo(f"error: {failure}", err=True)
    if not result.failures:
        tests = sum(not check.sha256 for check in result.checks)
        echo(f"verified: {len(result.checks) - tests} files" + f", {tests} tests" * bool(tests))
