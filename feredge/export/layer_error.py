"""Layers and int8: how much each one loses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from feredge import data
from feredge.compress import rounding
from feredge.data.dataset import Dataset
from feredge.errors import RecipeError, RunError
from feredge.export import calibration
from feredge.export.quantizer import Integer, answers, calibrated
from feredge.inference.contract import Images
from feredge.recipes.variant import parse
from feredge.run import RunFolder

LOOKED_AT = 64  # images that layers are ranked on


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


def layer_table(
    run: RunFolder, dataset: Dataset, *, variant: str = "dense", kind: Literal["onnx", "tflite"] = "onnx"
) -> list[dict[str, Any]]:
    """Return the rows of `table` for a variant of a trained run, on validation images.

    Args:
        run: a trained run; any other variant than dense must stand in it.
        dataset: what it was trained on.
        variant: its name.
        kind: `onnx` or `tflite`.

    Raises:
        RecipeError: no such variant, one whose TFLite file was trained in int8, or validation images that are the
            test's.
        RunError: a variant that was not made yet, or no validation images.
    """
    from feredge.compress import variants
    from feredge.keras import suppressed_stderr

    what, settings = parse(variant), run.recipe().export
    if what.quantized and kind == "tflite":
        raise RecipeError(f"{variant}: its TFLite file was trained in int8, and has no float layers to compare with")
    if variant != "dense" and not (run.variants / f"{variant}.npz").is_file():
        raise RunError(f"{run.path}: expected the variant {variant}, found none; run `feredge export` first")
    view = run.recipe().data
    splits = data.split(dataset, view)
    looked_at = data.stratified_sample(calibration.to_choose_on(splits, view), LOOKED_AT, seed=view.seed)
    chosen, _ = calibration.choose(splits, settings.calibration, seed=view.seed)
    core = variants.open_core(run, variant, weights=run.training_record()["weights"])
    with suppressed_stderr():  # TFLite's converter names its modes
        network = calibrated(core, chosen, kind, settings=settings, weight_quantization=rounding.for_variant(what))
        return table(network, looked_at.batch)
