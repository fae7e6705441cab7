"""`feredge verify`: an exported folder, checked again."""

from __future__ import annotations

from pathlib import Path

import click

from feredge.commands.shared import PATH, note_unread
from feredge.console import echo


@click.command("verify")
@click.argument("folder", type=PATH)
def command(folder: Path) -> None:
    """Check an exported folder again: digests, contents, what each file says of itself, and that it runs.

    FOLDER holds a manifest.json; or it is a run folder.
    """
    from feredge.export.recheck import recheck
    from feredge.run import RunFolder

    run = RunFolder(folder)
    manifest = recheck(run.artifacts if run.manifest.is_file() else folder)
    for entry in manifest.entries:
        echo(f"{entry.sha256[:12]}  {entry.file}")
    echo(f"verified: {len(manifest.entries)} files")
    note_unread()
