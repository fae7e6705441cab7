"""`feredge train`: train a network from a recipe and a data set."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import feredge
from feredge.commands.shared import (
    DATA_OPTION,
    LEAVE_OUT_OPTION,
    PATH_TYPE,
    SKIP_BAD_ROWS_OPTION,
    bars,
    complete_recipe,
    options,
)
from feredge.console import echo

if TYPE_CHECKING:
    from feredge.api.training import TrainOptions, TrainResult

RUN_OPTIONS = options(
    DATA_OPTION,
    click.option("--out", type=PATH_TYPE, help="The run folder.  [default: runs/RECIPE]"),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a setting of the recipe, such as training.epochs=5; may be repeated.",
    ),
)
_TRAIN_OPTIONS = options(
    click.option("--keep-duplicates", is_flag=True, help="Train on images that have a duplicate in a test split."),
    LEAVE_OUT_OPTION,
    click.option(
        "--soft-labels",
        type=PATH_TYPE,
        help="Distill from soft labels in a file written by `feredge soft-labels`.",
    ),
    click.option(
        "--teacher",
        "teachers",
        multiple=True,
        type=PATH_TYPE,
        metavar="PATH",
        help="Online distillation: the teacher (a trained RUN, a folder of exported files, or a name of `feredge "
        "models`) predicts each augmented batch; may be repeated, teachers are averaged.",
    ),
    click.option(
        "--start-from",
        type=PATH_TYPE,
        help="Start with the weights of a trained RUN, a folder of exported files, or a name of `feredge models`.",
    ),
    SKIP_BAD_ROWS_OPTION,
)


def with_train_options(function: Callable[..., Any]) -> Any:
    """Add the options of a training to a command, passed as its argument `options`."""

    @_TRAIN_OPTIONS
    @functools.wraps(function)
    def command(
        *,
        keep_duplicates: bool,
        leave_out: Path | None,
        soft_labels: Path | None,
        teachers: tuple[Path, ...],
        start_from: Path | None,
        skip_bad_rows: bool,
        **command_options: Any,
    ) -> Any:
        training = feredge.TrainOptions(keep_duplicates, leave_out, soft_labels, teachers, start_from, skip_bad_rows)
        return function(options=training, **command_options)

    return command


@click.command("train")
@click.argument("recipe", shell_complete=complete_recipe)
@RUN_OPTIONS
@with_train_options
def command(recipe: str, data: str, out: Path | None, overrides: tuple[str, ...], options: TrainOptions) -> None:
    """Train a network.

    RECIPE is a name of `feredge recipes` or a .toml file. After an interruption, the same command resumes the training.
    """
    with bars("reading the data and opening TensorFlow") as progress:
        result = feredge.train(recipe, data, out=out, overrides=overrides, options=options, progress=progress)
    print_training(result)


def print_training(result: TrainResult) -> None:
    """Print the accuracy on the test images; a very small data set has none."""
    accuracy = "no test images"
    if result.accuracy is not None:
        accuracy = f"{result.accuracy:.2%} of {result.test_images} test images"
    echo(f"trained: {accuracy}, {result.run.path}")
