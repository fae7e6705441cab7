"""`feredge sensitivity`: what int8 costs in each layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import click

from feredge.commands.shared import AS_JSON, DATA_AGAIN, PATH
from feredge.console import echo, echo_json, visible
from feredge.errors import RunError
from feredge.progress import heartbeat


@click.command("sensitivity")
@click.argument("run", type=PATH)
@DATA_AGAIN
@click.option("--variant", default="dense", show_default=True, help="Of this variant.")
@click.option("--format", "kind", type=click.Choice(["onnx", "tflite"]), default="onnx", show_default=True)
@AS_JSON
def command(run: Path, data: str | None, variant: str, kind: Literal["onnx", "tflite"], as_json: bool) -> None:
    """Show what int8 costs in each layer, worst first: what to give to `feredge export --keep-float`.

    Mean squared error and signal-to-noise ratio of the layer's output in the int8 file, and of the probabilities when
    this layer alone is in int8, on validation images that are not the test's. The same as JSON stands beside the run's
    files.
    """
    from feredge import files
    from feredge.inference.artifact import LAYERS_FILE
    from feredge.run import RunFolder

    folder = RunFolder.open(run, trained=True)
    path = folder.artifacts / LAYERS_FILE
    before = _known(path)
    with heartbeat("layers: opening TensorFlow, then running each layer in int8"):
        from feredge.export.layer_error import layer_error_table

        rows = layer_error_table(folder, folder.load_data(data), variant=variant, kind=kind)
    files.write_json(path, {**before, f"{variant}.int8.{kind}": rows})
    if as_json:
        echo_json(rows, indent=2)
        return
    width = max(len(visible(row["layer"])) for row in rows)
    echo(f"{'layer':{width}}  output MSE   dB  alone: MSE   dB")
    for row in rows:
        output, alone = (_decibels(row[key]) for key in ("sqnr_db", "alone_sqnr_db"))
        echo(f"{visible(row['layer']):{width}}  {row['mse']:10.2e} {output}  {row['alone_mse']:10.2e} {alone}")


def _known(path: Path) -> dict[str, Any]:
    """Return the tables that stand there; RunError for anything else, before the slow work."""
    try:
        value = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RunError(f"{path}: expected tables of layers, found something else; remove it")
    return value


def _decibels(value: float | None) -> str:
    return "   -" if value is None else f"{value:4.0f}"
