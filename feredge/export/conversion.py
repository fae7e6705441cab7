"""One conversion job, as a worker process does it: one variant to the formats of one converter, each file verified."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any, Literal

from feredge import files
from feredge.compress.rounding import WeightQuantization
from feredge.errors import ArtifactError, FeredgeError, VerificationError, one_line
from feredge.export.accuracy_bound import Made
from feredge.export.job import Done, Job
from feredge.inference import artifact
from feredge.inference.artifact import REASON_LENGTH, Card, Entry, Failure
from feredge.inference.parallel import exit_with_parent
from feredge.inference.runtimes import Probabilities
from feredge.recipes.variant import parse
from feredge.run import RunFolder

INTEGER = ("int8", "int16x8")
"""Precisions whose ranges come from calibration."""


def start_worker() -> None:
    """Make a worker end with its parent, and keep the converters' talk off the terminal."""
    exit_with_parent()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)  # they write from C++; what goes wrong comes back as an exception


def convert(job: Job) -> Done:
    """Write and verify the job's files. Each gets its name only after it has passed; one that fails stops no other.

    Raises:
        RecipeError: settings that do not fit the network.
        OSError: a full disk.
    """
    from feredge.train.networks import make_predict_function

    core, converter = _open(RunFolder(job.run), job)
    reference = make_predict_function(core)(job.images[..., 0])
    done = Done()
    for name, card in job.cards.items():
        try:
            entry, runtimes = _write_file(job, name, card, converter, core, reference)
        except (ArtifactError, VerificationError) as error:
            reason = one_line(error, REASON_LENGTH).removeprefix(f"{name}: ")
            done.failures.append(Failure(name, reason))
        else:
            done.entries.append(entry)
            done.runtimes[name] = runtimes
    return done


def _write_file(
    job: Job, name: str, card: Card, converter: Callable[[Card], Made], core: Any, reference: Probabilities
) -> tuple[Entry, Any]:
    """Convert, verify and describe one file. Return its entry, and what each runtime made of it.

    Raises:
        ArtifactError: the converter failed; its own error is the cause.
        VerificationError: see verify.py.
    """
    from feredge.compress import pruning
    from feredge.export import parity
    from feredge.export.verification import verify
    from feredge.inspection import requirements, variant_checks, weights

    path = job.folder / name
    with files.replacing(path) as temporary:
        try:
            made = converter(card)
            card = dataclasses.replace(card, float_layers=made.float_layers)
            temporary.write_bytes(_with_card(made.model, card, path.suffix))
        except FeredgeError as error:
            raise type(error)(f"{name}: {error}") from error
        except OSError:
            raise
        except Exception as error:  # the converters raise whatever their libraries do
            raise ArtifactError(f"{name}: conversion failed ({one_line(error)})") from error
        figures = verify(temporary, card, job.images, reference, name=name)
        inside = weights.read(temporary)
        variant_checks.check_size(inside, pruning.weight_count(core), name)
        compared = parity.compare(temporary, job.images, reference)
        about = requirements.of_file(temporary, inside) | _about_network(core)
    if card.precision in INTEGER:
        figures["calibration_images"] = len(job.calibration)
    return artifact.manifest_entry(path, card, figures | made.figures, about), compared


def _about_network(core: Any) -> dict[str, int]:
    from feredge.train.networks import multiply_adds

    return {"parameters": int(core.count_params()), "multiply_adds": multiply_adds(core)}


def _with_card(model: bytes, card: Card, suffix: str) -> bytes:
    if suffix == ".tflite":
        from feredge.export.tflite.fixed_batch import with_fixed_batch
        from feredge.export.tflite.metadata import with_metadata

        return artifact.append_tflite_card(with_metadata(with_fixed_batch(model), card), card)
    import onnx

    from feredge.export.onnx.converter import with_card
    from feredge.export.onnx.ort import to_ort

    carded = with_card(onnx.load_from_string(model), card)
    return to_ort(carded) if suffix == ".ort" else carded


def _open(folder: RunFolder, job: Job) -> tuple[Any, Callable[[Card], Made]]:
    """Return the variant's float network, and the function from a card to the file, which has no card yet."""
    from feredge.compress import rounding, variants

    name, first = next(iter(job.cards.items()))
    weights = first.source["weights"]
    core = variants.open_core(folder, first.variant, weights=weights)
    weight_quantization = rounding.for_variant(parse(first.variant))
    if not name.endswith(".tflite"):
        return core, _onnx_maker(job, core, weight_quantization)
    quantized = variants.open_quantized(folder, first.variant, weights=weights)
    return core, _tflite_maker(job, core, quantized, weight_quantization)


def _tflite_maker(
    job: Job, core: Any, quantized: Any | None, weight_quantization: WeightQuantization
) -> Callable[[Card], Made]:
    from feredge.export.accuracy_bound import as_trained
    from feredge.export.tflite.converter import to_tflite, trained_int8

    def make(card: Card) -> Made:
        if card.precision == "int8" and quantized is not None:
            return as_trained(trained_int8(quantized), job, core)
        if card.precision == "int8":
            return _calibrated(job, core, "tflite", weight_quantization)
        return Made(
            to_tflite(core, card.precision, calibration=job.calibration, weight_quantization=weight_quantization)
        )

    return make


def _onnx_maker(job: Job, core: Any, weight_quantization: WeightQuantization) -> Callable[[Card], Made]:
    from feredge.export.onnx import converter as to_onnx

    made = dict[str, Made]()

    def make(card: Card) -> Made:
        if card.precision not in made:  # .onnx and .ort hold the same
            if card.precision == "int8":
                made[card.precision] = _calibrated(job, core, "onnx", weight_quantization)
            else:
                graph = to_onnx.core_graph(core, opset=job.settings.opset)
                model = to_onnx.at_precision(graph, card.precision, weight_quantization=weight_quantization)
                made[card.precision] = Made(bytes(model.SerializeToString(deterministic=True)))
        return made[card.precision]

    return make


def _calibrated(job: Job, core: Any, kind: Literal["onnx", "tflite"], weight_quantization: WeightQuantization) -> Made:
    from feredge.export.accuracy_bound import within_bound
    from feredge.export.quantizer import calibrated

    return within_bound(
        lambda images: calibrated(core, images, kind, settings=job.settings, weight_quantization=weight_quantization),
        job,
        core,
    )
