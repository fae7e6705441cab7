"""Export of a trained run, or of an imported network, to verified files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from feredge import predictions
from feredge.api.cancel import Cancel, cancellable
from feredge.api.dataframe import to_dataframe
from feredge.api.datasets import load_dataset, run_dataset
from feredge.api.importing import InputSpec, KerasModel, network_data, open_run
from feredge.api.training import Overrides, override_texts
from feredge.errors import RunError, UnsupportedNetworkError
from feredge.export.c.compiler import has_compiler
from feredge.files import new_folder
from feredge.inference.artifact import ARTIFACT_KINDS
from feredge.progress import Progress, quiet
from feredge.run import RunFolder

if TYPE_CHECKING:
    import pandas

    from feredge.api.datasets import DataSource
    from feredge.api.pixel_range import PixelRange
    from feredge.inference.artifact import Failure, Manifest
    from feredge.predictions import Predictions
    from feredge.recipes.schema import Export

CalibrationMethod = Literal["min-max", "moving-average", "percentile", "entropy"]


@dataclass(frozen=True, eq=False)
class ExportResult:
    """Result of an export; its files are in `run.artifacts`.

    Attributes:
        run: the run folder.
        manifest: the verified files, and those that failed.
        previous: folders of earlier exports, and the files of each that this export did not write.
        notes: how an imported network was compared with the file that it comes from.
    """

    run: RunFolder
    manifest: Manifest
    previous: tuple[tuple[Path, tuple[str, ...]], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The verified files."""
        return tuple(self.run.artifacts / entry.file for entry in self.manifest.entries)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The files that failed verification, each with the reason."""
        return self.manifest.failures

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per file, verified or failed, with its size and the metrics of its verification."""
        verified = (
            {
                "file": entry.file,
                "variant": entry.card.variant,
                "precision": entry.card.precision,
                "format": entry.format,
                "size_bytes": entry.bytes,
                "sha256": entry.sha256,
                **{key: value for key, value in entry.verification.items() if isinstance(value, int | float)},
            }
            for entry in self.manifest.entries
        )
        failed = (
            {"file": one.file, "variant": one.variant, "precision": one.precision, "failure": one.reason}
            for one in self.failures
        )
        return to_dataframe([*verified, *failed])


def export(
    network: str | PathLike[str] | KerasModel,
    *,
    data: DataSource | None = None,
    files: Sequence[str] = (),
    variants: Sequence[str] = (),
    overrides: Overrides = (),
    calibration_images: int | None = None,
    calibration_data: DataSource | None = None,
    calibration_method: CalibrationMethod | None = None,
    reduce_range: bool | None = None,
    keep_float: Sequence[str] = (),
    max_drop: float | None = None,
    temperature_scaling: bool | None = None,
    licence: str | None = None,
    input_size: int | tuple[int, int] | None = None,
    input_range: PixelRange | None = None,
    classes: Sequence[str] = (),
    output: str = "",
    out: str | PathLike[str] | None = None,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> ExportResult:
    """Prune, quantize, write TFLite and ONNX files and verify each. If a file fails, the others are still written.

    Args:
        network: a run folder; a folder of exported files or a name of `feredge.models()`, from which the network is
            imported; or the Keras file, SavedModel, ONNX file or Keras model object of a network trained elsewhere. For
            all but a run folder, the new run folder `out` is made.
        data: the data, if moved since training; required if `network` is not a run folder.
        files: files to write of each variant, `["int8.onnx", ...]`, or `["all"]`; the recipe's by default.
        variants: variants to export; the recipe's by default.
        overrides: recipe settings that replace the run's: `{"compression.epochs": 2}`.
        calibration_images: number of training images that calibrate the int8 ranges.
        calibration_data: data to calibrate on, instead of the training split.
        calibration_method: how activation ranges are calibrated.
        reduce_range: 7-bit kernels in int8 ONNX, which x86 CPUs without VNNI require.
        keep_float: layers that stay in float32 in int8 files.
        max_drop: percentage points of validation accuracy that an int8 file may lose; the layers with the largest int8
            error stay in float32, one by one, until it does not lose more.
        temperature_scaling: divide the logits by the temperature that fits the probabilities to half of the validation
            images (Guo et al. 2017), where that lowers their calibration error; `calibrate` then uses the other half.
        licence: licence note to store in the files.
        input_size: input size of an imported network: pixels per side.
        input_range: input values of black and white pixels of an imported network, `(0.0, 1.0)`; or mean and standard
            deviation of pixels in 0..1 for each channel, `((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))`; or `"imagenet"`.
        classes: class names of an imported network, in the order of its outputs; of a single sigmoid two, the second
            of which it is the probability of.
        output: name of the output of an imported network that has several.
        out: the new run folder, if `network` is not a run folder; `runs/NAME` by default.
        progress: called between files.
        cancel: polled between files.

    Raises:
        RunError: `network` is no known path, or a run that is not trained; `out` belongs to something else.
        RecipeError: an invalid setting, file name or input.
        ArtifactError: an imported network that cannot be read safely.
        DataError: no data, or calibration images that are also in the test split.
        VerificationError: every file failed.
        Cancelled: `cancel` returned True.
    """
    spec = InputSpec(input_size, input_range, tuple(classes), output)
    folder = None if out is None else Path(out)
    texts = override_texts(overrides)
    changes = {
        "calibration_images": calibration_images,
        "calibration_method": calibration_method,
        "reduce_range": reduce_range,
        "keep_float": tuple(keep_float) or None,
        "max_drop": max_drop,
        "temperature_scaling": temperature_scaling,
        "licence": licence,
    }
    try:
        run = open_run(network, data, spec, licence, folder)
    except UnsupportedNetworkError as error:
        if texts or variants or calibration_data is not None:
            raise
        return _export_untranslated(error, network, data, spec, files, changes, folder)
    dataset = run_dataset(run, data)
    from feredge.recipes import load as load_recipe

    recipe = load_recipe(run.recipe_file, overrides=texts) if texts else None
    settings = _settings((recipe or run.recipe()).export, files, **changes)
    view = run.recipe().data
    from feredge.export import export as export_run
    from feredge.export.replacement import previous_exports

    manifest = export_run(
        run,
        dataset,
        recipe=recipe,
        settings=settings,
        variants=tuple(variants),
        calibrate_on=None
        if calibration_data is None
        else load_dataset(calibration_data, size=view.size, channels=view.channels),
        progress=cancellable(progress, cancel),
    )
    previous = tuple((folder, tuple(names)) for folder, names in previous_exports(run.artifacts))
    return ExportResult(run, manifest, previous, notes=_import_notes(run) if spec else ())


def _export_untranslated(
    reason: UnsupportedNetworkError,
    network: str | PathLike[str] | KerasModel,
    data: DataSource | None,
    spec: InputSpec,
    files: Sequence[str],
    changes: dict[str, Any],
    out: Path | None,
) -> ExportResult:
    """Export an ONNX file with operators that have no Keras layer, as ONNX files."""
    from feredge.export.onnx.untranslated import ONNX_FILES, export_untranslated
    from feredge.recipes.schema import Export

    path = Path(network)
    run = RunFolder(out or Path("runs") / path.stem)
    if run.recipe_file.exists():
        raise RunError(f"{run.path}: holds another run; choose another folder")
    settings = _settings(Export(), files, **changes) or Export()
    if not files or "all" in files:
        settings = dataclasses.replace(settings, files=tuple(name for name in settings.files if name in ONNX_FILES))
    network_input, dataset = network_data(path, data, spec)
    with new_folder(run.path), run.lock():
        manifest = export_untranslated(
            path, network_input, spec.classes, dataset, run.artifacts, settings=settings, output=spec.output
        )
    return ExportResult(run, manifest, notes=(f"{reason}; exported as ONNX only, from its own graph",))


def _import_notes(run: RunFolder) -> tuple[str, ...]:
    """Return how an imported network was compared with its file, and whether another order of the classes fits."""
    record = run.training_record()
    comparison, source = record.get("comparison"), record.get("foreign", {}).get("file")
    if comparison is None:
        return ()
    hint = _class_order_hint(predictions.read(run)) if run.predictions.is_file() else ""  # older imports have none
    hints = (f"{source}: {hint}",) if hint else ()
    difference = f"outputs within {comparison['largest']:.1g} of its own on {comparison['images']} images"
    in_precision = "" if comparison["precision"] == "float32" else f", which are computed in {comparison['precision']}"
    if comparison["rebuilt"]:
        rebuilt = "its graph was not run; the network was rebuilt from its layers and compared with Keras's"
        return (f"{source}: {rebuilt}: {difference}{in_precision}", *hints)
    return (f"{source}: {difference}{in_precision}", *hints)


def _class_order_hint(predicted: Predictions) -> str:
    """Return a sentence if another order of the classes fits the test images far better, else an empty text."""
    from feredge.benchmark.class_order import order_hint

    labelled = predicted.labels >= 0
    if not labelled.any():
        return ""
    return order_hint(predicted.probabilities[labelled], predicted.labels[labelled], predicted.classes)


def _settings(settings: Export, files: Sequence[str], **values: Any) -> Export | None:
    """Return the recipe's export settings, changed by every value that is not None; None if nothing changes."""
    changes = {key: value for key, value in values.items() if value is not None}
    if files:
        changes["files"] = _all_files(settings, values) if "all" in files else tuple(dict.fromkeys(files))
    return dataclasses.replace(settings, **changes) if changes else None


def _all_files(settings: Export, changes: dict[str, Any]) -> tuple[str, ...]:
    """Return every file that can be written here: the C library needs a compiler, and all layers in int8."""
    floats = changes.get("keep_float") or settings.keep_float or changes.get("max_drop") or settings.max_drop
    if floats or not has_compiler():
        return tuple(kind for kind in ARTIFACT_KINDS if not kind.endswith(".c"))
    return ARTIFACT_KINDS
