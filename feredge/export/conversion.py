"""The conversion of a job in a worker process: a variant to the files of one converter, each verified."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from feredge import files
from feredge.errors import ArtifactError, FeredgeError, VerificationError, one_line
from feredge.export.accuracy_bound import ConvertedModel
from feredge.export.conversion_job import ConversionJob, ConversionResult
from feredge.export.passes import FileFormat
from feredge.inference.artifact import REASON_LENGTH, Card, Entry, Failure, manifest_entry
from feredge.inference.contract import Images
from feredge.inference.embedded_card import append_tflite_card
from feredge.inference.parallel import exit_with_parent
from feredge.inference.runtimes import Probabilities
from feredge.recipes.variant import MIRROR_VARIANT, VIEWS, Variant, parse
from feredge.run import RunFolder

if TYPE_CHECKING:
    from feredge.keras import KerasModel

CALIBRATED_PRECISIONS = ("int8", "int16x8")
"""Precisions with integer activations, whose ranges come from calibration."""


@dataclass(frozen=True)
class NetworkSize:
    """Size of a float network.

    Attributes:
        kernel_weights: weights in the kernels of its layers.
        parameters: all weights.
        multiply_adds: of one image.
    """

    kernel_weights: int
    parameters: int
    multiply_adds: int


def initialize_worker() -> None:
    """Let a worker process end with its parent, its standard output and error discarded."""
    exit_with_parent()
    null_device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_device, 1)
    os.dup2(null_device, 2)  # the converters log from C++; errors are returned as exceptions


def convert(job: ConversionJob) -> ConversionResult:
    """Write and verify the files of a job. A file gets its name after it has passed; a failure stops no other file.

    Raises:
        RecipeError: settings that do not fit the network.
        OSError: a full disk.
    """
    from feredge.compress import pruning
    from feredge.train.networks import multiply_adds

    is_onnx = next(iter(job.cards)).endswith((".onnx", ".ort"))
    core, quantized, variant = _open_variant(RunFolder(job.run), job, is_onnx=is_onnx)
    views = VIEWS if next(iter(job.cards.values())).variant == MIRROR_VARIANT else 1
    metrics = _scale_temperature(core, quantized, job, views=views)
    converter = _onnx_converter(job, core, variant) if is_onnx else _tflite_converter(job, core, quantized, variant)
    reference = _view_outputs(core, job.verification_images, views=views).mean(0)
    size = NetworkSize(pruning.weight_count(core), int(core.count_params()), views * multiply_adds(core))
    result = write_files(job, converter, reference, size)
    entries = [dataclasses.replace(entry, verification=entry.verification | metrics) for entry in result.entries]
    return dataclasses.replace(result, entries=entries)


def write_files(
    job: ConversionJob, converter: Callable[[Card], ConvertedModel], reference: Probabilities, size: NetworkSize
) -> ConversionResult:
    """Write and verify the files of a job.

    Args:
        job: the files, and the images for their verification.
        converter: from a card to the model of its precision.
        reference: the float network's probabilities for the verification images.
        size: of the network.
    """
    result = ConversionResult()
    for name, card in job.cards.items():
        try:
            entry, runtime_parity = _write_file(job, name, card, converter, size, reference)
        except (ArtifactError, VerificationError) as error:
            reason = one_line(error, REASON_LENGTH).removeprefix(f"{name}: ")
            result.failures.append(Failure(name, reason))
        else:
            result.entries.append(entry)
            result.parity[name] = runtime_parity
    return result


def _scale_temperature(
    core: KerasModel, quantized: KerasModel | None, job: ConversionJob, *, views: int
) -> dict[str, float]:
    """Fold the temperature of the job's images into the networks, if there are any, and return its metrics."""
    if job.temperature_images is None:
        return {}
    from feredge.export.temperature import choose_temperature, fold_temperature

    images, labels = job.temperature_images
    scaling = choose_temperature(_view_outputs(core, images, views=views), labels)
    if scaling.temperature != 1:
        fold_temperature(core, quantized, scaling.temperature)
    return scaling.metrics()


def _view_outputs(core: KerasModel, images: Images, *, views: int) -> Probabilities:
    """Return a float network's probabilities, `float32 (views, N, classes)`, for each image and its mirror image."""
    from feredge.train.networks import make_predict_function

    predict = make_predict_function(core)
    return np.stack([predict(np.ascontiguousarray(images[:, :, ::step])) for step in (1, -1)[:views]])


def _write_file(
    job: ConversionJob,
    name: str,
    card: Card,
    converter: Callable[[Card], ConvertedModel],
    size: NetworkSize,
    reference: Probabilities,
) -> tuple[Entry, Any]:
    """Convert and verify one file. Return its manifest entry and its parity in every runtime.

    Raises:
        ArtifactError: the converter failed; its own error is the cause.
        VerificationError: see `verify`.
    """
    from feredge.export import parity
    from feredge.export.verification import verify
    from feredge.inspection import requirements, variant_checks, weights

    path = job.folder / name
    with files.replacing(path) as temporary:
        try:
            converted = converter(card)
            card = dataclasses.replace(card, float_layers=converted.float_layers)
            temporary.write_bytes(add_card(converted.model, card, path.suffix, job.settings.c_arithmetic))
        except FeredgeError as error:
            raise type(error)(f"{name}: {error}") from error
        except OSError:
            raise
        except Exception as error:  # the converters raise whatever their libraries do
            raise ArtifactError(f"{name}: conversion failed ({one_line(error)})") from error
        metrics = verify(temporary, card, job.verification_images, reference, name=name)
        contents = weights.read(temporary)
        variant_checks.check_size(contents, size.kernel_weights, name)
        runtime_parity = parity.compare(temporary, job.verification_images, reference)
        facts = requirements.of_file(temporary, contents)
        facts |= {"parameters": size.parameters, "multiply_adds": size.multiply_adds}
        if path.suffix == ".c":
            _write_header(temporary, path)
    if card.precision in CALIBRATED_PRECISIONS:
        metrics["calibration_images"] = len(job.calibration_images)
    return manifest_entry(path, card, metrics | converted.metrics, facts), runtime_parity


def _write_header(source: Path, path: Path) -> None:
    """Write the header of the C library `source`, which will be at `path`."""
    from feredge.export.c.artifact_file import check_c_artifact, header_path

    files.write_text(header_path(path), check_c_artifact(source)[1].header)


def add_card(model: bytes, card: Card, suffix: str, c_arithmetic: Literal["xnnpack", "tflm"] = "xnnpack") -> bytes:
    """Return the file's content: the model with its card, in the format of `suffix`."""
    if suffix == ".c":
        from feredge.export.c.artifact_file import c_artifact
        from feredge.export.tflite.fixed_batch import with_fixed_batch

        return c_artifact(with_fixed_batch(model), card, c_arithmetic)[0].encode()
    if suffix == ".tflite":
        from feredge.export.tflite.fixed_batch import with_fixed_batch
        from feredge.export.tflite.metadata import with_metadata
        from feredge.export.tflite.mirror import with_mirror_averaging

        fixed = with_fixed_batch(model)
        views = with_mirror_averaging(fixed) if card.variant == MIRROR_VARIANT else fixed
        return append_tflite_card(with_metadata(views, card), card)
    import onnx

    from feredge.export.onnx.converter import with_card
    from feredge.export.onnx.mirror import with_mirror_averaging as average_onnx
    from feredge.export.onnx.ort import to_ort

    network = onnx.load_from_string(model)
    onnx_file = with_card(average_onnx(network) if card.variant == MIRROR_VARIANT else network, card)
    return to_ort(onnx_file) if suffix == ".ort" else onnx_file


def _open_variant(
    folder: RunFolder, job: ConversionJob, *, is_onnx: bool
) -> tuple[KerasModel, KerasModel | None, Variant]:
    """Return the variant's float network, its quantization-aware copy if a file is converted from it, and its name."""
    from feredge.compress import variants

    card = next(iter(job.cards.values()))
    weights, variant = card.source["weights"], parse(card.variant)
    core = variants.open_core(folder, card.variant, weights=weights)
    quantized = None if is_onnx else variants.open_quantized(folder, card.variant, weights=weights)
    return core, quantized, variant


def _tflite_converter(
    job: ConversionJob, core: KerasModel, quantized: KerasModel | None, variant: Variant
) -> Callable[[Card], ConvertedModel]:
    from feredge.export.accuracy_bound import check_trained_int8
    from feredge.export.tflite.converter import to_tflite, trained_to_tflite

    @functools.cache  # .tflite and .c hold the same graph
    def int8_model() -> ConvertedModel:
        if quantized is not None:
            return check_trained_int8(trained_to_tflite(quantized), job, core)
        return _quantize(job, core, "tflite", variant)

    def convert_to(card: Card) -> ConvertedModel:
        if card.precision == "int8":
            return int8_model()
        return ConvertedModel(to_tflite(core, card.precision, calibration=job.calibration_images, variant=variant))

    return convert_to


def _onnx_converter(job: ConversionJob, core: KerasModel, variant: Variant) -> Callable[[Card], ConvertedModel]:
    from feredge.export.onnx.converter import to_onnx

    models: dict[str, ConvertedModel] = {}  # by precision: .onnx and .ort hold the same graph

    def convert_to(card: Card) -> ConvertedModel:
        if card.precision not in models and card.precision == "int8":
            models[card.precision] = _quantize(job, core, "onnx", variant)
        elif card.precision not in models:
            opset, images = job.settings.opset, job.calibration_images
            model = to_onnx(core, card.precision, opset=opset, calibration=images, variant=variant)
            models[card.precision] = ConvertedModel(model)
        return models[card.precision]

    return convert_to


def _quantize(job: ConversionJob, core: KerasModel, kind: FileFormat, variant: Variant) -> ConvertedModel:
    from feredge.export.accuracy_bound import quantize_within_bound
    from feredge.export.quantizer import calibrate

    return quantize_within_bound(
        lambda images: calibrate(core, images, kind, settings=job.settings, variant=variant), job, core
    )
