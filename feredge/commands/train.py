"""`feredge train`: a recipe and a data set to a trained run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import feredge
from feredge.commands.shared import (
    DATA_OPTION,
    LEAVE_OUT_OPTION,
    PATH_TYPE,
    SKIP_BAD_ROWS_OPTION,
    bars,
    options,
)
from feredge.console import echo

if TYPE_CHECKING:
    from feredge.api.training import TrainResult

TRAINING_OPTIONS = options(
    DATA_OPTION,
    click.option("--out", type=PATH_TYPE, help="The run folder.  [default: runs/RECIPE]"),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting: training.epochs=5"),
    click.option("--keep-duplicates", is_flag=True, help="Train on images that also stand in a test split."),
    LEAVE_OUT_OPTION,
    click.option("--soft-labels", type=PATH_TYPE, help="Distillation from a file of `feredge soft-labels`."),
    click.option(
        "--teacher",
        "teachers",
        multiple=True,
        type=PATH_TYPE,
        metavar="PATH",
        help="Distillation on each augmented batch from a trained RUN, a folder of exported files, or a name of "
        "`feredge models`; several are averaged.",
    ),
    click.option(
        "--start-from",
        type=PATH_TYPE,
        help="Begin with the weights of a trained RUN, a folder of exported files, or a name of `feredge models`.",
    ),
    SKIP_BAD_ROWS_OPTION,
)


@click.command("train")
@click.argument("recipe")
@TRAINING_OPTIONS
def command(recipe: str, **settings: Any) -> None:
    """Train a network.

    RECIPE is a name or a .toml file. Started again after a stop, it goes on.
    """
    with bars("reading the data and opening TensorFlow") as progress:
        result = feredge.train(recipe, progress=progress, **settings)
    print_training(result)


def print_training(result: TrainResult) -> None:
    """Print the accuracy on the test images; of very few images none are left to test on."""
    accuracy = "no test images"
    if result.accuracy is not None:
        accuracy = f"{result.accuracy:.2%} of {result.test_images} test images"
    echo(f"trained: {accuracy}, {result.run.path}")
