"""`feredge run`: train, export and benchmark in one go."""

from __future__ import annotations

import sys
from typing import Any

import click

from feredge.commands import bench
from feredge.commands.export import say_exported
from feredge.commands.shared import NO_FACES, QUICK, bars, show
from feredge.commands.train import TRAINING, trained


@click.command("run")
@click.argument("recipe", default="nano")
@TRAINING
@QUICK
@NO_FACES
@click.pass_context
def command(context: click.Context, /, recipe: str, quick: bool, no_faces: bool, **settings: Any) -> None:
    """Train, export and benchmark in one go.

    RECIPE is a name or a .toml file, nano if left out. Steps that are done already are skipped. A file that
    fails its export stops nothing, and the command ends with 1.
    """
    folder, dataset = trained(recipe, **settings)
    with bars("opening TensorFlow") as progress:
        from feredge.export import export

        manifest = export(folder, dataset, progress=progress)
    say_exported(folder, manifest)
    from feredge.benchmark import current_results

    results = current_results(folder, dataset, quick=quick)
    if results is None or not folder.report.is_file():
        context.invoke(bench.command, targets=(folder.path,), data=settings["data"], quick=quick, no_faces=no_faces)
    else:
        show(results, folder.report)
    if manifest.failures:
        sys.exit(1)
