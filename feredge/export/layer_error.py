"""Quantization error of each layer: of its own output, and of the probabilities when it alone is in int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from feredge import data
from feredge.data.dataset import Dataset
from feredge.errors import RecipeError, RunError
from feredge.export import calibration
from feredge.export.passes import FileFormat
from feredge.export.quantizer import CalibratedModel, calibrate, predict
from feredge.inference.contract import Images
from feredge.recipes.variant import MIRROR_VARIANT, parse
from feredge.run import RunFolder

RANKING_IMAGES = 64


@dataclass(frozen=True)
class LayerError:
    """The error of the probabilities when one layer is in int8 and all others in float32.

    Attributes:
        layer: its Keras name.
        mse: mean squared error.
        sqnr_db: signal-to-quantization-noise ratio, in dB; infinite without any error.
    """

    layer: str
    mse: float
    sqnr_db: float


def rank_layers(network: CalibratedModel, images: Images) -> list[LayerError]:
    """Return the error of each layer when it alone is in int8, the largest first."""
    layers = network.layers
    exact = predict(network.quantize(layers), images)  # every layer in float32
    errors = []
    for layer in layers:
        rounded = predict(network.quantize([name for name in layers if name != layer]), images)
        errors.append(LayerError(layer, *quantization_noise(exact, rounded)))
    return sorted(errors, key=lambda error: -error.mse)


def layer_error_rows(network: CalibratedModel, images: Images) -> list[dict[str, Any]]:
    """Return the int8 error of each layer, the largest error of the probabilities first.

    Returns:
        A row a layer: `mse` and `sqnr_db` of its output in the int8 model, which includes the error of the layers
        before it; `alone_mse` and `alone_sqnr_db` of the probabilities when it alone is in int8. Decibels are None
        where there is no error at all.
    """
    exact = network.layer_outputs(network.quantize(network.layers), images)
    rounded = network.layer_outputs(network.quantize(), images)
    rows = []
    for error in rank_layers(network, images):
        mse, sqnr_db = quantization_noise(exact[error.layer], rounded[error.layer])
        decibels = {"sqnr_db": sqnr_db, "alone_sqnr_db": error.sqnr_db}
        finite = {key: value if np.isfinite(value) else None for key, value in decibels.items()}
        rows.append({"layer": error.layer, "mse": mse, "alone_mse": error.mse, **finite})
    return rows


def quantization_noise(exact: Any, rounded: Any) -> tuple[float, float]:
    """Return the mean squared error of `rounded` and its signal-to-noise ratio in dB."""
    mse = float(np.square(exact.astype(np.float64) - rounded).mean())
    power = float(np.square(exact.astype(np.float64)).mean())
    return mse, float(10 * np.log10(power / mse)) if mse else float("inf")


def layer_error_table(
    run: RunFolder, dataset: Dataset, *, variant: str = "dense", kind: FileFormat = "onnx"
) -> list[dict[str, Any]]:
    """Return `layer_error_rows` of a variant of a trained run, on validation images.

    Args:
        run: a trained run, which holds the variant unless it is dense.
        dataset: the data that it was trained on.
        variant: its name.
        kind: `onnx` or `tflite`.

    Raises:
        RecipeError: no such variant, one whose TFLite file was trained in int8, or a validation split that is the
            test split.
        RunError: a variant that was not fine-tuned yet, or no validation images.
    """
    from feredge.compress import variants
    from feredge.keras import suppressed_stderr

    spec, settings = parse(variant), run.recipe().export
    if spec.quantized and kind == "tflite":
        raise RecipeError(f"{variant}: its TFLite file was trained in int8, and has no float layers to compare with")
    if variant not in ("dense", MIRROR_VARIANT) and not (run.variants / f"{variant}.npz").is_file():
        raise RunError(f"{run.path}: expected the variant {variant}, found none; run `feredge export` first")
    view = run.recipe().data
    splits = data.split(dataset, view)
    images = data.stratified_sample(calibration.layer_choice_split(splits, view), RANKING_IMAGES, seed=view.seed).images
    calibration_images, _ = calibration.calibration_sets(splits, settings.calibration_images, seed=view.seed)
    core = variants.open_core(run, variant, weights=run.training_record()["weights"])
    with suppressed_stderr():  # TFLite's converter prints its modes
        network = calibrate(core, calibration_images, kind, settings=settings, variant=spec)
        return layer_error_rows(network, images)
