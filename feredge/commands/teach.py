"""`feredge teach`: soft labels from trained runs."""

from __future__ import annotations

from pathlib import Path

import click

from feredge.commands.shared import PATH, bars


@click.command("teach")
@click.argument("runs", nargs=-1, required=True, type=PATH, metavar="RUN...")
@click.option("--data", help="Where the runs' data are now, if they have moved.")
@click.option("--out", required=True, type=PATH, help="The file of soft labels, npz.")
def command(runs: tuple[Path, ...], data: str | None, out: Path) -> None:
    """Average what trained runs say of the training images, for `feredge train --soft-labels`.

    Each RUN looks at every image and at its mirror image.
    """
    from feredge.run import RunFolder

    folders = [RunFolder.open(run, trained=True) for run in runs]
    dataset = folders[0].load_data(data)
    from feredge.train import teaching

    with bars() as progress:
        labels = teaching.teach(folders, dataset, progress=progress)
    labels.write(out)
    click.echo(f"soft labels: {len(labels.rows)} images by {len(folders)} network{'s' * (len(folders) > 1)}, {out}")
