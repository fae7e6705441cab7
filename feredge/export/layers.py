"""Layers and int8: how much each one loses, and which to leave in float so that a file loses little."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from feredge import settings
from feredge.contract import Images
from feredge.errors import RecipeError, VerificationError
from feredge.runtime import Probabilities, onnx_session
from feredge.tflite import TFLiteGraph, litert_interpreter

if TYPE_CHECKING:
    from feredge.export.conversion import Job, Made

LOOKED_AT = 64  # images that layers are ranked on
BATCH = 64


LAYERS_FILE = "layers.json"


class Integer(Protocol):
    """A calibrated network: Int8Onnx or Int8TFLite."""

    layers: tuple[str, ...]

    def outputs(self, model: bytes, images: Images) -> dict[str, Any]:
        """Return what each layer of a model that `quantize` gave has as its output, as real numbers."""
        ...

    def quantize(self, keep_float: Collection[str] = ()) -> bytes:
        """Return the int8 model with some layers in float32."""
        ...


@dataclass(frozen=True)
class LayerError:
    """What one layer in int8 does to a network that is in float everywhere else.

    Attributes:
        mse: mean squared error of the probabilities.
        sqnr: their signal-to-quantization-noise ratio, in dB; infinite without any error.
    """

    layer: str
    mse: float
    sqnr: float


def ranked(network: Integer, images: Images) -> list[LayerError]:
    """Return the error that each layer alone makes in int8, worst first."""
    layers = network.layers
    exact = answers(network.quantize(layers), images)  # all in float
    found = []
    for layer in layers:
        rounded = answers(network.quantize([other for other in layers if other != layer]), images)
        found.append(LayerError(layer, *noise(exact, rounded)))
    return sorted(found, key=lambda error: -error.mse)


def table(network: Integer, images: Images) -> list[dict[str, Any]]:
    """Return what int8 costs in each layer, worst first.

    Returns:
        A row a layer: `mse` and `sqnr_db` of its output in the int8 file, beside the float network's, which the
        layers before it share in; `alone_mse` and `alone_sqnr_db` of the probabilities when it alone is in int8.
        Decibels are None where there is no error at all.
    """
    exact = network.outputs(network.quantize(network.layers), images)
    rounded = network.outputs(network.quantize(), images)
    rows = []
    for error in ranked(network, images):
        mse, sqnr = noise(exact[error.layer], rounded[error.layer])
        decibels = {"sqnr_db": sqnr, "alone_sqnr_db": error.sqnr}
        finite = {key: value if np.isfinite(value) else None for key, value in decibels.items()}
        rows.append({"layer": error.layer, "mse": mse, "alone_mse": error.mse, **finite})
    return rows


def noise(exact: Any, rounded: Any) -> tuple[float, float]:
    """Return mean squared error and signal-to-noise ratio in dB of `rounded`."""
    mse = float(np.square(exact.astype(np.float64) - rounded).mean())
    power = float(np.square(exact.astype(np.float64)).mean())
    return mse, float(10 * np.log10(power / mse)) if mse else float("inf")


def answers(model: bytes, images: Images) -> Probabilities:
    """Return the probabilities that a model without a card gives, in either format."""
    if model[4:8] == b"TFL3":
        graph = TFLiteGraph(litert_interpreter(model))
        return np.concatenate([graph.run(images[at : at + BATCH]) for at in range(0, len(images), BATCH)])
    session = onnx_session(model, threads=1)
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: images[at : at + BATCH]})[0] for at in range(0, len(images), BATCH)]
    return np.concatenate(parts)


def within_bound(calibrated: Callable[[Images], Integer] | None, job: Job, core: Any, *, trained: bytes = b"") -> Made:
    """Return the int8 file of a job: with `keep_float` in float, and as many more layers as `max_drop` asks for.

    Args:
        calibrated: from calibration images to a network that can be quantized.
        job: says how.
        core: the float network.
        trained: the int8 file as quantization-aware training made it, which has no layers to choose from.

    Raises:
        RecipeError: `keep_float` names no layer of the network, or layers of a file that was trained in int8.
        VerificationError: more is lost than `max_drop`, even with all layers in float; or two calibration sets
            give files that disagree.
    """
    from feredge.export.conversion import Made
    from feredge.export.verify import check_calibration

    wanted, drop_of = job.settings.keep_float, _drop_on_validation(job, core)
    if calibrated is None:
        if wanted:
            raise RecipeError("export.keep_float: the TFLite file of a qat variant was trained in int8, layer by layer")
        return Made(trained, (), _checked(drop_of(trained), job))
    network = calibrated(job.calibration)
    for layer in wanted:
        if layer not in network.layers:
            raise RecipeError(f"export.keep_float: unknown layer {layer!r}{settings.nearest(layer, network.layers)}")
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
    from feredge.train.fitting import compiled

    images, labels = job.validation
    hits = float((compiled(core)(images[..., 0]).argmax(axis=1) == labels).mean())
    return lambda model: 100 * (hits - float((answers(model, images).argmax(axis=1) == labels).mean()))
