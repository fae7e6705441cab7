"""Mixed precision within an accuracy bound: layers of an int8 model go back to float32 until the drop is allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from feredge import dataclass_io
from feredge.errors import RecipeError, VerificationError
from feredge.export.conversion_job import ConversionJob
from feredge.export.layer_error import RANKING_IMAGES, rank_layers
from feredge.export.quantizer import CalibratedModel, predict
from feredge.inference.contract import Images

if TYPE_CHECKING:
    from feredge.keras import KerasModel


@dataclass(frozen=True)
class ConvertedModel:
    """The bytes of a converted model, its float32 layers if it is int8, and the metrics of its conversion."""

    model: bytes
    float_layers: tuple[str, ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)


def check_trained_int8(model: bytes, job: ConversionJob, core: KerasModel) -> ConvertedModel:
    """Return the int8 model of a quantization-aware training, its accuracy drop checked; no layer can go to float32.

    Raises:
        RecipeError: the job's `keep_float` names layers.
        VerificationError: the drop is above `max_drop`.
    """
    if job.settings.keep_float:
        raise RecipeError("export.keep_float: the TFLite file of a qat variant was trained in int8, layer by layer")
    return ConvertedModel(model, (), _check_drop(_validation_drop(job, core)(model), job))


def quantize_within_bound(
    calibrate: Callable[[Images], CalibratedModel], job: ConversionJob, core: KerasModel | None
) -> ConvertedModel:
    """Return an int8 model with the layers `keep_float` in float32, and as many more as `max_drop` requires.

    Layers are added in the order of their quantization error, the largest first.

    Args:
        calibrate: from calibration images to a model that can be quantized.
        job: the conversion.
        core: the float network; None for a job without `validation`.

    Raises:
        RecipeError: `keep_float` names no layer of the network.
        VerificationError: the drop is above `max_drop` even with all layers in float32; or two calibration sets
            give models that disagree.
    """
    from feredge.export.verification import check_calibration

    keep_float, drop_of = job.settings.keep_float, _validation_drop(job, core)
    network = calibrate(job.calibration_images)
    for layer in keep_float:
        if layer not in network.layers:
            raise RecipeError(
                f"export.keep_float: unknown layer {layer!r}{dataclass_io.nearest(layer, network.layers)}"
            )
    model, float_layers = network.quantize(keep_float), list(keep_float)
    metrics: dict[str, Any] = {"method": job.settings.calibration_method}
    images = job.verification_images
    if len(job.second_calibration_images):
        second = calibrate(job.second_calibration_images).quantize(keep_float)
        metrics |= check_calibration(predict(model, images), predict(second, images))
    drop = drop_of(model)
    ranking = rank_layers(network, images[:RANKING_IMAGES]) if _exceeds_bound(drop, job) else []
    for error in ranking:
        if error.layer not in float_layers and _exceeds_bound(drop, job):
            float_layers.append(error.layer)
            model = network.quantize(float_layers)
            drop = drop_of(model)
    return ConvertedModel(model, tuple(float_layers), metrics | _check_drop(drop, job))


def _exceeds_bound(drop: float | None, job: ConversionJob) -> bool:
    return drop is not None and drop > job.settings.max_drop


def _check_drop(drop: float | None, job: ConversionJob) -> dict[str, float]:
    """Return the drop as a metric, none where it is not bounded; VerificationError above the bound."""
    if drop is None:
        return {}
    if _exceeds_bound(drop, job):
        raise VerificationError(
            f"expected a drop of at most {job.settings.max_drop:g} pp on the validation images, found {drop:.2f} pp"
        )
    return {"validation_drop": drop}


def _validation_drop(job: ConversionJob, core: KerasModel | None) -> Callable[[bytes], float | None]:
    """Return a function from a model to its accuracy drop from the float network, in pp; to None without a bound."""
    if job.validation is None:
        return lambda model: None
    from feredge.train.networks import make_predict_function

    images, labels = job.validation
    float_accuracy = float((make_predict_function(core)(images).argmax(axis=1) == labels).mean())
    return lambda model: 100 * (float_accuracy - float((predict(model, images).argmax(axis=1) == labels).mean()))
