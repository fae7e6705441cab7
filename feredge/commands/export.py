"""`feredge export`: a trained run, or a network from elsewhere, to verified files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import feredge
from feredge.commands.shared import (
    CLASSES_OPTION,
    INPUT_RANGE_OPTION,
    PATH_TYPE,
    PixelRange,
    PixelSize,
    bars,
    split_names,
)
from feredge.console import echo

if TYPE_CHECKING:
    from feredge.api.exporting import ExportResult

CALIBRATION_METHODS = ("min-max", "moving-average", "percentile", "entropy")
MIN_CALIBRATION_IMAGES = 100  # fewer get a warning


@click.command("export")
@click.argument("network", type=PATH_TYPE, metavar="RUN")
@click.option("--data", help="Where the run's data are now, if they have moved; needed where RUN is no run folder.")
@click.option(
    "--files",
    multiple=True,
    callback=split_names,
    metavar="PRECISION.FORMAT,...",
    help="Write these, or all: int8.onnx,float32.tflite",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change its recipe: compression.epochs=2")
@click.option("--variant", "variants", multiple=True, metavar="NAME", help="Only this variant; may be repeated.")
@click.option(
    "--calibration-images", type=click.IntRange(1), metavar="N", help="Calibrate on N images.  [default: 512]"
)
@click.option("--calibration-data", metavar="PATH", help="Calibrate on these images, not on the training split.")
@click.option(
    "--calibration-method", type=click.Choice(CALIBRATION_METHODS), help="How it sets ranges.  [default: min-max]"
)
@click.option("--no-reduce-range", is_flag=True, help="8-bit kernels in int8 ONNX: wrong on x86 CPUs without VNNI.")
@click.option("--keep-float", multiple=True, metavar="LAYER", help="Leave this layer of int8 files in float32.")
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="PP",
    help="Leave the worst layers of int8 files in float32 until they lose at most PP on the validation images.",
)
@click.option("--licence", help="Licence note for the files.")
@click.option("--input-size", type=PixelSize(), help="Input of a network from elsewhere: 64x64")
@click.option(INPUT_RANGE_OPTION, type=PixelRange(), help="The values of black and white in its input: -1..1")
@click.option(CLASSES_OPTION, callback=split_names, help="Its outputs, in order, with commas between.")
@click.option("--out", type=PATH_TYPE, help="The run folder, where RUN is none.  [default: runs/NAME]")
def command(network: Path, no_reduce_range: bool, **settings: Any) -> None:
    """Prune, quantize, write TFLite and ONNX, verify each file.

    The folder then holds what was written last; an earlier file that this export has not remains in
    artifacts.previous. A file that fails stops no other, is named in the manifest with its reason, and ends the
    command with 1.

    RUN is a run folder; or a folder of exported files or a name of `feredge models`, which is read back; or the .h5,
    .hdf5 or .keras file or SavedModel of a network trained elsewhere, with --input-size, --input-range and --classes.
    All but the first become the run folder --out.
    """
    with bars("reading the data and opening TensorFlow") as progress:
        result = feredge.export(network, reduce_range=False if no_reduce_range else None, progress=progress, **settings)
    print_export(result)
    if result.failures:
        sys.exit(1)


def print_export(result: ExportResult) -> None:
    """Print what was written, which layers are in float32, what failed, and what remains of earlier exports."""
    entries = result.manifest.entries
    for entry in entries:
        if entry.card.float_layers:
            drop = entry.verification.get("validation_drop")
            lost = "" if drop is None else f", {drop:+.2f} pp on the validation images"
            echo(f"{entry.file}: in float32: {', '.join(entry.card.float_layers)}{lost}")
    counts = [entry.verification.get("calibration_images") for entry in entries]
    calibrated = [count for count in counts if count is not None]
    if calibrated and min(calibrated) < MIN_CALIBRATION_IMAGES:
        echo(
            f"warning: calibrated on only {min(calibrated)} images, expected at least {MIN_CALIBRATION_IMAGES}",
            err=True,
        )
    for failure in result.failures:
        echo(f"error: {failure.file}: {failure.reason}", err=True)
    echo(f"exported: {len(entries)} verified files, {result.run.artifacts}")
    for folder, names in result.previous:
        echo(f"{folder}: holds files of earlier exports that this one has not: {', '.join(names)}")
