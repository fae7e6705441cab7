"""`feredge verify`: an exported folder, checked again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from feredge.commands.shared import PATH
from feredge.console import echo


@click.command("verify")
@click.argument("folder", type=PATH)
def command(folder: Path) -> None:
    """Check an exported folder again: digests, contents, metadata, and answers.

    FOLDER holds a manifest.json; or it is a run folder. Every file is run on the 64 probe images, and its outputs
    are compared with those in probes.npz, within the tolerance between CPUs. Every bad file is named; one ends it
    with code 1.
    """
    from feredge.inference.artifact import Manifest, finish_swap
    from feredge.inspection.recheck import recheck
    from feredge.run import RunFolder

    run = RunFolder(folder)
    finish_swap(run.artifacts)
    finish_swap(folder)
    place = run.artifacts if run.manifest.is_file() else folder
    checks = recheck(place)
    for failed in Manifest.read(place, check=False).failures:
        echo(f"not exported: {failed.file}: {failed.reason}", err=True)
    for check in checks:
        if not check.failure:
            echo(f"{check.sha256[:12]}  {check.file}")
    failures = [check.failure for check in checks if check.failure]
    for failure in failures:
        echo(f"error: {failure}", err=True)
    if failures:
        sys.exit(1)
    echo(f"verified: {len(checks)} files")
