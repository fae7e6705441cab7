"""`feredge sensitivity`: the int8 quantization error of each layer."""

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
@click.option("--variant", default="dense", show_default=True, help="Variant to analyze.")
@click.option(
    "--format",
    "format",
    type=click.Choice(["onnx", "tflite"]),
    default="onnx",
    show_default=True,
    help="Format of the int8 file.",
)
@JSON_OPTION
def command(run: Path, data: str | None, variant: str, format: Literal["onnx", "tflite"], as_json: bool) -> None:
    """Show the int8 quantization error of each layer, largest first.

    It shows the mean squared error and signal-to-noise ratio of the layer's output in the int8 file, and of the
    probabilities when this layer alone is in int8, on validation images, never on test images. Use it to choose layers
    for `feredge export --keep-float`. The table is also written to RUN/artifacts/layers.json.
    """
    with heartbeat("opening TensorFlow, then running each layer in int8"):
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
