"""`feredge export`: a trained run, or a network from elsewhere, to verified files."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feredge.commands.shared import PATH, bars
from feredge.console import echo
from feredge.errors import RecipeError
from feredge.inference.artifact import ARTIFACT_KINDS

if TYPE_CHECKING:
    from feredge.inference.artifact import Manifest
    from feredge.recipes.schema import Export
    from feredge.run import RunFolder

METHODS = ("min-max", "moving-average", "percentile", "entropy")


@click.command("export")
@click.argument("run", type=PATH)
@click.option("--data", help="Where the run's data are now, if they have moved; needed where RUN is no run folder.")
@click.option("--all", "everything", is_flag=True, help="Write every precision in every format.")
@click.option("--only", multiple=True, metavar="PRECISION.FORMAT", help="Write this one: int8.onnx; may be repeated.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change its recipe: compression.epochs=2")
@click.option("--variant", "variants", multiple=True, metavar="NAME", help="Only this variant; may be repeated.")
@click.option("--calibration", type=click.IntRange(1), metavar="N", help="Calibrate on N images.  [default: 512]")
@click.option("--calibrate-on", metavar="PATH", help="Calibrate on these images, not on the training split.")
@click.option("--method", type=click.Choice(METHODS), help="How calibration chooses ranges.  [default: min-max]")
@click.option("--full-range", is_flag=True, help="8-bit kernels in int8 ONNX: wrong on x86 CPUs without VNNI.")
@click.option("--keep-float", multiple=True, metavar="LAYER", help="Leave this layer of int8 files in float32.")
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="PP",
    help="Put the worst layers of int8 files back to float32 until they lose at most PP on the validation images.",
)
@click.option("--licence", help="Licence note for the files.")
@click.option("--input", "given", metavar="'64x64 -1..1'", help="What a foreign network takes: size, black and white.")
@click.option("--classes", help="What a foreign network answers, in order, with commas between.")
@click.option("--out", type=PATH, help="The run folder, where RUN is none.  [default: runs/NAME]")
def command(run: Path, data: str | None, changes: tuple[str, ...], calibrate_on: str | None, **asked: Any) -> None:
    """Prune, quantize, write TFLite and ONNX, verify each file.

    The folder then holds what was written last; an earlier file that it has not remains in artifacts.previous. A file
    that fails stops no other, is named in the manifest with its reason, and ends the command with 1.

    RUN is a run folder; or a folder of exported files, which is read back; or the .h5, .hdf5 or .keras file or
    SavedModel of a network trained elsewhere. The last two become the run folder --out.
    """
    from feredge import recipes
    from feredge.data import load
    from feredge.importing.from_onnx import is_export_folder
    from feredge.importing.network import is_keras_model
    from feredge.run import RunFolder

    given, classes, out = (asked.pop(key) for key in ("given", "classes", "out"))
    if is_keras_model(run):
        folder = _take_in(run, data, asked["licence"], given=given, classes=classes, out=out)
    elif given or classes:
        raise RecipeError(f"--input and --classes are for a foreign network's file, found {run}")
    elif is_export_folder(run):
        folder = _reopen(run, data, out)
    elif out:
        raise RecipeError(f"--out is for what is no run folder yet, found {run}")
    else:
        folder = RunFolder.open(run, trained=True)
    dataset = folder.load_data(data)
    recipe = recipes.load(folder.recipe_file, overrides=changes) if changes else None
    settings, variants = _settings((recipe or folder.recipe()).export, **asked), asked["variants"]
    own = load(calibrate_on, size=folder.recipe().data.size) if calibrate_on else None
    with bars("opening TensorFlow") as progress:
        from feredge.export import export

        manifest = export(
            folder, dataset, recipe=recipe, settings=settings, variants=variants, calibrate_on=own, progress=progress
        )
    say_exported(folder, manifest)
    if manifest.failures:
        sys.exit(1)


def say_exported(run: RunFolder, manifest: Manifest) -> None:
    """Print what was written, which layers were left in float, what failed, and what remains of earlier exports."""
    for entry in manifest.entries:
        if entry.card.float_layers:
            drop = entry.verification.get("validation_drop")
            lost = "" if drop is None else f", {drop:+.2f} pp on the validation images"
            echo(f"{entry.file}: in float32: {', '.join(entry.card.float_layers)}{lost}")
    calibrated = [
        entry.verification["calibration_images"]
        for entry in manifest.entries
        if "calibration_images" in entry.verification
    ]
    if calibrated and min(calibrated) < 100:
        echo(f"warning: calibrated on only {min(calibrated)} images, expected at least 100", err=True)
    for failure in manifest.failures:
        echo(f"error: {failure.file}: {failure.reason}", err=True)
    echo(f"exported: {len(manifest.entries)} verified files, {run.artifacts}")
    from feredge.export.replacement import previous_exports

    for folder, names in previous_exports(run.artifacts):
        echo(f"{folder}: holds files of earlier exports that this one has not: {', '.join(names)}")


def _settings(settings: Export, **asked: Any) -> Export | None:
    """Return the recipe's export settings with those that were asked for; None where none was."""
    changes = {key: asked[key] for key in ("calibration", "method", "max_drop", "licence") if asked[key] is not None}
    if asked["full_range"]:
        changes["full_range"] = True
    if asked["keep_float"]:
        changes["keep_float"] = asked["keep_float"]
    if asked["everything"] and asked["only"]:
        raise RecipeError("expected --all or --only, found both")
    if asked["everything"]:
        changes |= {"precisions": (), "formats": (), "also": ARTIFACT_KINDS}
    if asked["only"]:
        changes |= {"precisions": (), "formats": (), "also": asked["only"]}
    return dataclasses.replace(settings, **changes) if changes else None


def _reopen(path: Path, data: str | None, out: Path | None) -> RunFolder:
    from feredge.data import load
    from feredge.importing.from_onnx import import_exported, read_recipe

    recipe = read_recipe(path)
    if not data:
        raise RecipeError(f"{path}: a folder of exported files needs --data")
    return import_exported(path, load(data, size=recipe.data.size), out or Path("runs") / path.name, recipe=recipe)


def _take_in(
    path: Path, data: str | None, licence: str | None, *, given: str | None, classes: str | None, out: Path | None
) -> RunFolder:
    from feredge.data import load
    from feredge.importing.network import NetworkInput, import_network

    for value, option in ((given, "--input"), (classes, "--classes"), (data, "--data")):
        if not value:
            raise RecipeError(f"{path}: a foreign network needs {option}")
    takes = NetworkInput.parse(str(given))
    names = tuple(name.strip() for name in str(classes).split(","))
    dataset = load(str(data), size=takes.height)
    return import_network(path, takes, names, dataset, out or Path("runs") / path.stem, licence=licence or "")
