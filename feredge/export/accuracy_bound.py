"""The int8 file of a job, with as many layers left in float as keep its drop within the recipe's bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from feredge import dataclass_io
from feredge.errors import RecipeError, VerificationError
from feredge.export.job import Job
from feredge.export.layer_error import LOOKED_AT, ranked
from feredge.export.quantizer import Integer, answers
from feredge.inference.contract import Images


@dataclass(frozen=True)
class Made:
    """A file's bytes, the layers that were left in float, and what was measured on the way."""

    model: bytes
    float_layers: tuple[str, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)


def as_trained(model: bytes, job: Job, core: Any) -> Made:
    """Return a file that was trained in int8: it has no layers to choose from, but its drop is bounded too.

    Raises:
        RecipeError: the job's `keep_float` names layers.
        VerificationError: more is lost than `max_drop`.
    """
    if job.settings.keep_float:
        raise RecipeError("export.keep_float: the TFLite file of a qat variant was trained in int8, layer by layer")
    return Made(model, (), _checked(_drop_on_validation(job, core)(model), job))


def within_bound(calibrated: Callable[[Images], Integer], job: Job, core: Any) -> Made:
    """Return the int8 file of a job: with `keep_float` in float, and as many more layers as `max_drop` asks for.

    Args:
        calibrated: from calibration images to a network that can be quantized.
        job: says how.
        core: the float network.

    Raises:
        RecipeError: `keep_float` names no layer of the network.
        VerificationError: more is lost than `max_drop`, even with all layers in float; or two calibration sets
            give files that disagree.
    """
    from feredge.export.verification import check_calibration

    wanted, drop_of = job.settings.keep_float, _drop_on_validation(job, core)
    network = calibrated(job.calibration)
    for layer in wanted:
        if layer not in network.layers:
            raise RecipeError(
                f"export.keep_float: unknown layer {layer!r}{dataclass_io.nearest(layer, network.layers)}"
            )
    model, kept = network.quantize(wanted), list(wanted)
    figures: dict[str, Any] = {"method": job.settings.method}
    if len(job.others):
        other = calibrated(job.others).quantize(wanted)
        figures |= check_calibration(answers(model, job.images), answers(other, job.images))
    drop = drop_of(model)
    worst = [error.layer for error in ranked(network, job.images[:LOOKED_AT])] if _exceeded(drop, job) else []
    for layer in worst:
        if layer not in kept and _exceeded(drop, job):
            kept.append(layer)
            model = network.quantize(kept)
            drop = drop_of(model)
    return Made(model, tuple(kept), figures | _checked(drop, job))


def _exceeded(drop: float | None, job: Job) -> bool:
    return drop is not None and drop > job.settings.max_drop


def _checked(drop: float | None, job: Job) -> dict[str, float]:
    if drop is None:
        return {}
    if _exceeded(drop, job):
        raise VerificationError(
            f"expected a drop of at most {job.settings.max_drop:g} pp on the validation images, found {drop:.2f} pp"
        )
    return {"validation_drop": drop}


def _drop_on_validation(job: Job, core: Any) -> Callable[[bytes], float | None]:
    """Return a function from a model to its drop beside the float network, in pp; to None where no bound is set."""
    if job.validation is None:
        return lambda model: None
    from feredge.train.networks import make_predict_function

    images, labels = job.validation
    hits = float((make_predict_function(core)(images[..., 0]).argmax(axis=1) == labels).mean())
    return lambda model: 100 * (hits - float((answers(model, images).argmax(axis=1) == labels).mean()))
