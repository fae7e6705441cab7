"""`feredge sensitivity`: what int8 costs in each layer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

import feredge
from feredge.commands.shared import JSON_OPTION, MOVED_DATA_OPTION, PATH_TYPE
from feredge.console import echo, echo_json, visible
from feredge.progress import heartbeat


@click.command("sensitivity")
@click.argument("run", type=PATH_TYPE)
@MOVED_DATA_OPTION
@click.option("--variant", default="dense", show_default=True, help="Of this variant.")
@click.option("--format", "format", type=click.Choice(["onnx", "tflite"]), default="onnx", show_default=True)
@JSON_OPTION
def command(run: Path, data: str | None, variant: str, format: Literal["onnx", "tflite"], as_json: bool) -> None:
    """Show what int8 costs in each layer, worst first: what to give to `feredge export --keep-float`.

    Mean squared error and signal-to-noise ratio of the layer's output in the int8 file, and of the probabilities when
    this layer alone is in int8, on validation images that are not the test's. The same is written as JSON beside the
    run's files.
    """
    with heartbeat("layers: opening TensorFlow, then running each layer in int8"):
        rows = feredge.sensitivity(run, data=data, variant=variant, format=format).rows
    if as_json:
        echo_json(list(rows), indent=2)
        return
    width = max(len(visible(row["layer"])) for row in rows)
    echo(f"{'layer':{width}}  output MSE   dB  alone: MSE   dB")
    for row in rows:
        output, alone = (_decibels(row[key]) for key in ("sqnr_db", "alone_sqnr_db"))
        echo(f"{visible(row['layer']):{width}}  {row['mse']:10.2e} {output}  {row['alone_mse']:10.2e} {alone}")


def _decibels(value: float | None) -> str:
    return "   -" if value is None else f"{value:4.0f}"
