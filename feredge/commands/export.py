"""`feredge export`: a trained run, or an imported network, to verified files."""

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
    PixelNormalization,
    PixelSize,
    bars,
    split_names,
)
from feredge.console import echo

if TYPE_CHECKING:
    from feredge.api.exporting import ExportResult
    from feredge.inference.artifact import Entry

CALIBRATION_METHODS = ("min-max", "moving-average", "percentile", "entropy")
MIN_CALIBRATION_IMAGES = 100  # fewer get a warning


@click.command("export")
@click.argument("network", type=PATH_TYPE, metavar="RUN")
@click.option("--data", help="Path of the data, if moved since training; required if RUN is not a run folder.")
@click.option(
    "--files",
    multiple=True,
    callback=split_names,
    metavar="PRECISION.FORMAT,...",
    help="Files to write: float32, float16, dynamic-int8 and int8 of .tflite and .onnx, int16x8.tflite, float32.ort, "
    "int8.ort, int8.c; or all.  [default: the recipe's]",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a setting of the run's recipe, such as compression.epochs=2; may be repeated.",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME",
    help="Export only this variant: dense (no compression), dense-mirror (the same, probabilities averaged over each "
    "image and its mirror image, at twice the time), pruned-50 (50% of the weights zero), clustered-16 (16 distinct "
    "weights a layer), channels-50 (half the multiply-adds, by removed channels), qat; may be repeated.",
)
@click.option(
    "--calibration-images", type=click.IntRange(1), metavar="N", help="Number of calibration images.  [default: 512]"
)
@click.option("--calibration-data", metavar="PATH", help="Data to calibrate on, instead of the training split.")
@click.option(
    "--calibration-method",
    type=click.Choice(CALIBRATION_METHODS),
    help="How activation ranges are calibrated.  [default: min-max]",
)
@click.option(
    "--no-reduce-range",
    is_flag=True,
    help="Weights of 8 bits instead of 7 in int8 ONNX (reduce_range=False); wrong results on x86 CPUs without VNNI.",
)
@click.option(
    "--keep-float",
    multiple=True,
    metavar="LAYER",
    help="Keep this layer in float32 in int8 files; may be repeated.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="PP",
    help="Keep the layers with the largest int8 error in float32, one by one, until the int8 file loses at most PP "
    "percentage points on the validation images.",
)
@click.option(
    "--temperature-scaling",
    is_flag=True,
    default=None,
    help="Divide the logits by the temperature that fits the probabilities to half of the validation images, where "
    "that lowers their calibration error; folded into the last layer's weights.",
)
@click.option("--licence", help="Licence note to store in the files.")
@click.option("--input-size", type=PixelSize(), help="Input size of an imported network, a square such as 64x64.")
@click.option(
    INPUT_RANGE_OPTION,
    type=PixelNormalization(),
    help="Input values of black and white pixels of an imported network, such as -1..1; or mean and standard deviation "
    "of pixels in 0..1, as 0.5/0.25, for each channel 0.5,0.4,0.3/0.2,0.2,0.2; or imagenet.",
)
@click.option(
    CLASSES_OPTION,
    callback=split_names,
    help="Class names of an imported network, comma-separated, in the order of its outputs.",
)
@click.option("--output", default="", metavar="NAME", help="Output of an imported network that has several.")
@click.option("--out", type=PATH_TYPE, help="The new run folder, if RUN is not a run folder.  [default: runs/NAME]")
def command(network: Path, no_reduce_range: bool, **settings: Any) -> None:
    """Prune, quantize, write TFLite and ONNX, verify each file.

    The new export replaces the old one; files of the old export that are not written again remain in
    artifacts.previous. If a file fails verification, the others are still written, manifest.json, the list of the
    exported files, has it with the reason, and the exit code is 1.

    RUN is a run folder; or a folder of exported files or a name of `feredge models`, from which the network is
    imported; or the .h5, .hdf5, .keras or .onnx file or SavedModel of a network trained elsewhere, with --input-size,
    --input-range and --classes. Unless RUN is a run folder, the new run folder --out is made.
    """
    with bars("reading the data and opening TensorFlow") as progress:
        result = feredge.export(network, reduce_range=False if no_reduce_range else None, progress=progress, **settings)
    print_export(result)
    if result.failures:
        sys.exit(1)


def print_export(result: ExportResult) -> None:
    """Print what was written, which layers are in float32, what failed, and what remains of earlier exports."""
    for note in result.notes:
        echo(note)
    entries = result.manifest.entries
    for entry in entries:
        if entry.card.float_layers:
            drop = entry.verification.get("validation_drop")
            lost = "" if drop is None else f", {drop:+.2f} pp on the validation images"
            echo(f"{entry.file}: in float32: {', '.join(entry.card.float_layers)}{lost}")
    for line in dict.fromkeys(_temperature_line(entry) for entry in entries if "temperature" in entry.verification):
        echo(line)
    counts = [entry.verification.get("calibration_images") for entry in entries]
    calibrated = [count for count in counts if count is not None]
    if calibrated and min(calibrated) < MIN_CALIBRATION_IMAGES:
        echo(
            f"warning: calibrated on only {min(calibrated)} images, expected at least {MIN_CALIBRATION_IMAGES}",
            err=True,
        )
    print_failures(result)
    echo(f"exported: {len(entries)} verified files, {result.run.artifacts}")
    for folder, names in result.previous:
        echo(f"{folder}: contains files of earlier exports that this export did not write: {', '.join(names)}")


def _temperature_line(entry: Entry) -> str:
    """Return a sentence on a variant's temperature, and its calibration error without and with it."""
    metrics = entry.verification
    temperature = "no temperature" if metrics["temperature"] == 1 else f"temperature {metrics['temperature']:g}"
    error, scaled = (f"{100 * metrics[key]:.2f}%" for key in ("calibration_error", "scaled_calibration_error"))
    return (
        f"{entry.card.variant}: {temperature}: expected calibration error {error} without and {scaled} with one, "
        f"on {metrics['temperature_images']:,} validation images"
    )


def print_failures(result: ExportResult) -> None:
    """Print which files failed verification, and why."""
    for failure in result.failures:
        echo(f"error: {failure.file}: {failure.reason}", err=True)
