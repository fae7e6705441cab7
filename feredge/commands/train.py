"""`feredge train`: a recipe and a data set to a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feredge.commands.shared import DATA, LEAVE_OUT, PATH, SKIP, bars, options
from feredge.console import echo

if TYPE_CHECKING:
    from feredge.data.dataset import Dataset
    from feredge.run import RunFolder

TRAINING = options(
    DATA,
    click.option("--out", type=PATH, help="The run folder.  [default: runs/RECIPE]"),
    click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting: training.epochs=5"),
    click.option("--keep-duplicates", is_flag=True, help="Train on images that also stand in a test split."),
    LEAVE_OUT,
    click.option("--soft-labels", type=PATH, help="Learn from a teacher too: see `feredge soft-labels`."),
    click.option(
        "--teacher",
        "teachers",
        multiple=True,
        type=PATH,
        metavar="PATH",
        help="Learn from what a trained RUN, a folder of exported files, or a name of `feredge models` says of each "
        "changed image, too. Several count alike.",
    ),
    click.option(
        "--start-from",
        type=PATH,
        help="Begin with the weights of a trained RUN, a folder of exported files, or a name of `feredge models`.",
    ),
    SKIP,
)


@click.command("train")
@click.argument("recipe")
@TRAINING
def command(recipe: str, **settings: Any) -> None:
    """Train a network.

    RECIPE is a name or a .toml file. Started again after a stop, it goes on.
    """
    trained(recipe, **settings)


def trained(
    recipe: str,
    data: str,
    out: Path | None,
    changes: tuple[str, ...],
    keep_duplicates: bool,
    leave_out: Path | None,
    soft_labels: Path | None,
    teachers: tuple[Path, ...],
    start_from: Path | None,
    skip_bad_rows: bool,
) -> tuple[RunFolder, Dataset]:
    """Train as the options of TRAINING say, and print how well. Return the run and its data."""
    from feredge import recipes
    from feredge.data import exclude_rows, ignored_files_line, load, read_row_numbers, summarize, untrained_classes_line

    changes += ("data.drop_duplicates=false",) * keep_duplicates
    resolved = recipes.load(recipe, overrides=changes)  # before the slow imports: a typo is told at once
    dataset = load(data, size=resolved.data.size, skip_bad_rows=skip_bad_rows)
    if dataset.skipped:
        echo(f"{dataset.skipped} bad rows skipped", err=True)
    counts = summarize(dataset)
    if counts.left_out:
        echo(ignored_files_line(counts.left_out), err=True)
    if counts.untrained_classes:
        echo(untrained_classes_line(counts.untrained_classes), err=True)
    if leave_out is not None:
        dataset = exclude_rows(dataset, read_row_numbers(leave_out))
    out = out or Path("runs") / resolved.name
    with bars("opening TensorFlow") as progress:
        from feredge.importing import from_onnx
        from feredge.train import train

        start = None if start_from is None else from_onnx.load_trained(start_from)
        asked = [from_onnx.load_trained(teacher) for teacher in teachers]
        run = train(resolved, dataset, out, soft_labels=soft_labels, start=start, teachers=asked, progress=progress)
    test = run.training_record().get("test")  # of a handful of images none are left to test on
    found = f"{test['accuracy']:.2%} of {test['images']} test images" if test else "no test images"
    echo(f"trained: {found}, {run.path}")
    return run, dataset
