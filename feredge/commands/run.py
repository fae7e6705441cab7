"""`feredge run`: train, export and benchmark with one command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

import feredge
from feredge.commands.export import print_export, print_failures
from feredge.commands.measuring import command_line
from feredge.commands.shared import JSON_OPTION, NO_FACES_OPTION, QUICK_OPTION, bars, complete_recipe, print_results
from feredge.commands.train import RUN_OPTIONS, print_training, with_train_options
from feredge.console import echo_json

if TYPE_CHECKING:
    from feredge.api.pipeline import StepResult


@click.command("run")
@click.argument("recipe", default="nano", shell_complete=complete_recipe)
@RUN_OPTIONS
@with_train_options
@QUICK_OPTION
@NO_FACES_OPTION
@JSON_OPTION
def command(recipe: str, quick: bool, no_faces: bool, as_json: bool, **settings: Any) -> None:
    """Train, export and benchmark with one command.

    RECIPE is a name of `feredge recipes` or a .toml file; default: nano. Completed steps are skipped. If a file fails
    verification, the run continues, and the exit code is 1.
    """
    with bars("reading the data and opening TensorFlow") as progress:

        def print_step(step: StepResult) -> None:
            progress.finish()
            if not as_json:
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
    if as_json:
        echo_json(result.benchmarked.results.to_json())
        print_failures(result.exported)
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
