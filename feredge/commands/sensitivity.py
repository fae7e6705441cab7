"""`feredge sensitivity`: the int8 quantization error of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import click

import feredge
from feredge.commands.shared import JSON_OPTION, MOVED_DATA_OPTION, PATH_TYPE
from feredge.console import echo_json, echo_table
from feredge.progress import heartbeat


@click.command("sensitivity")
@click.argument("run", type=PATH_TYPE)
@MOVED_DATA_OPTION
@click.option(
    "--variant",
    default="dense",
    show_default=True,
    help="Compression of the network to analyze: dense (none), pruned-80, qat.",
)
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
    columns = ("layer", "output MSE", "SQNR dB", "alone: MSE", "alone: SQNR dB")
    echo_table(columns, map(_cells, rows), right=columns[1:])


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    output, alone = (_decibels(row[key]) for key in ("sqnr_db", "alone_sqnr_db"))
    return row["layer"], f"{row['mse']:.2e}", output, f"{row['alone_mse']:.2e}", alone


def _decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
