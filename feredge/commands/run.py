"""`feredge run`: train, export and benchmark with one command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

import feredge
from feredge.commands.export import print_export
from feredge.commands.measuring import command_line
from feredge.commands.shared import NO_FACES_OPTION, QUICK_OPTION, bars, print_results
from feredge.commands.train import RUN_OPTIONS, print_training, with_train_options

if TYPE_CHECKING:
    from feredge.api.pipeline import StepResult


@click.command("run")
@click.argument("recipe", default="nano")
@RUN_OPTIONS
@with_train_options
@QUICK_OPTION
@NO_FACES_OPTION
def command(recipe: str, quick: bool, no_faces: bool, **settings: Any) -> None:
    """Train, export and benchmark with one command.

    RECIPE is a name of `feredge recipes` or a .toml file; default: nano. Completed steps are skipped. If a file fails
    verification, the run continues, and the exit code is 1.
    """
    with bars("reading the data and opening TensorFlow") as progress:

        def print_step(step: StepResult) -> None:
            progress.finish()
            _print_step(step)

        result = feredge.run(
            recipe,
            effort="quick" if quick else "default",
            faces=not no_faces,
            command=command_line(),
            on_result=print_step,
            progress=progress,
            **settings,
        )
    if result.exported.failures:
        sys.exit(1)


def _print_step(step: StepResult) -> None:
    from feredge.api.exporting import ExportResult
    from feredge.api.training import TrainResult

    if isinstance(step, TrainResult):
        print_training(step)
    elif isinstance(step, ExportResult):
        print_export(step)
    else:
        print_results(step.results, step.page)
