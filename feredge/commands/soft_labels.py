"""`feredge soft-labels`: soft labels from trained runs, from people's votes, or from both."""

from __future__ import annotations

from pathlib import Path

import click

from feredge.commands.shared import LEAVE_OUT, PATH, bars
from feredge.console import echo


@click.command("soft-labels")
@click.argument("runs", nargs=-1, type=PATH, metavar="[RUN...]")
@click.option(
    "--votes", type=PATH, help="FER+ votes on the csv's pictures, fer2013new.csv: they count as one more RUN."
)
@click.option("--data", help="Where the runs' data are now, if they have moved; needed without a RUN.")
@LEAVE_OUT
@click.option("--out", required=True, type=PATH, help="The file of soft labels, npz.")
def command(runs: tuple[Path, ...], votes: Path | None, data: str | None, leave_out: Path | None, out: Path) -> None:
    """Average what trained runs say of the training images, for `feredge train --soft-labels`.

    Each RUN looks at every image and at its mirror image.
    """
    from feredge.data import hold_back, load, read_rows
    from feredge.errors import DataError
    from feredge.run import RunFolder

    folders = [RunFolder.open(run, trained=True) for run in runs]
    if not folders and (votes is None or data is None):
        raise DataError("expected a RUN, or --votes and --data, found neither")
    dataset = folders[0].load_data(data, votes=votes) if folders else load(str(data), votes=votes)
    if leave_out is not None:
        dataset = hold_back(dataset, read_rows(leave_out))
    with bars("opening TensorFlow") as progress:
        from feredge.train import soft_labels

        labels = soft_labels.make_soft_labels(folders, dataset, progress=progress)
    labels.write(out)
    speakers = [f"{len(folders)} network{'s' * (len(folders) > 1)}"] * bool(folders) + ["people's votes"] * bool(votes)
    echo(f"soft labels: {len(labels.rows)} images by {' and '.join(speakers)}, {out}")
