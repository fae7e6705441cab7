"""Temperature scaling: logits divided by one number, so that confidences fit the accuracy.

Guo et al., "On calibration of modern neural networks", 2017. The temperature minimizes the negative log likelihood of
validation images, and is folded into the weights of the last layer: no file gets an operator for it, and no image
changes its class, unless the file averages two views of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import RecipeError
from feredge.inference.runtimes import Probabilities
from feredge.predictions import calibration_error

if TYPE_CHECKING:
    from feredge.keras import KerasModel

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
MIN_CHANGE = 0.01
"""A temperature nearer to 1 is not folded: it changes no probability by more than the rounding to int8 does."""
SMALLEST_PROBABILITY = 1e-30
"""Softmax in float32 underflows to 0, whose logarithm is infinite."""
FOLDING_TOLERANCE = 1e-3
"""Bound on a probability's difference between the folded network and scaled probabilities: float32 sums."""


@dataclass(frozen=True)
class TemperatureScaling:
    """The temperature of a float network, and its expected calibration error on the validation images.

    Attributes:
        temperature: the logits' divisor; 1 if none is folded.
        images: number of validation images.
        error: without a temperature.
        scaled_error: with one, fitted on the other half of these images for each half.
    """

    temperature: float
    images: int
    error: float
    scaled_error: float

    def metrics(self) -> dict[str, float]:
        """Return what the manifest records of each file."""
        return {
            "temperature": self.temperature,
            "temperature_images": self.images,
            "calibration_error": self.error,
            "scaled_calibration_error": self.scaled_error,
        }


def choose_temperature(probabilities: Probabilities, labels: NDArray[np.integer]) -> TemperatureScaling:
    """Choose the temperature of a network; 1 unless another lowers the expected calibration error.

    Args:
        probabilities: `float32 (views, N, classes)`, whose mean over the views is the network's output.
        labels: `(N,)`.
    """
    error = calibration_error(probabilities.mean(0), labels)
    scaled = np.empty_like(probabilities[0])
    halves = slice(0, None, 2), slice(1, None, 2)
    for fitted, evaluated in (halves, halves[::-1]):
        temperature = fit_temperature(probabilities[:, fitted], labels[fitted])
        scaled[evaluated] = scale_probabilities(probabilities[:, evaluated], temperature).mean(0)
    scaled_error = calibration_error(scaled, labels)
    temperature = fit_temperature(probabilities, labels)
    helps = scaled_error < error and abs(temperature - 1) >= MIN_CHANGE
    return TemperatureScaling(temperature if helps else 1.0, len(labels), error, scaled_error)


def fit_temperature(probabilities: Probabilities, labels: NDArray[np.integer]) -> float:
    """Return the temperature that minimizes the negative log likelihood, to four digits.

    Args:
        probabilities: as in `choose_temperature`.
        labels: `(N,)`.
    """
    from scipy.optimize import minimize_scalar

    def negative_log_likelihood(log_temperature: float) -> float:
        scaled = scale_probabilities(probabilities, math.exp(log_temperature)).mean(0)
        likelihoods = scaled[np.arange(len(labels)), labels].astype(np.float64)
        return -float(np.log(np.maximum(likelihoods, SMALLEST_PROBABILITY)).mean())

    bounds = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    fit = minimize_scalar(negative_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(f"{math.exp(fit.x):.4g}")


def scale_probabilities(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Return the probabilities, `(..., classes)`, of the logits divided by `temperature`."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST_PROBABILITY)) / temperature
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    scaled: NDArray[np.float64] = exponentials / exponentials.sum(-1, keepdims=True)
    return scaled


def fold_temperature(core: KerasModel, quantized: KerasModel | None, temperature: float) -> None:
    """Divide the weights of a network's last layer by `temperature`, and in its quantization-aware copy its ranges too.

    Args:
        core: the float network, which is changed.
        quantized: its copy by `compress.quantization_aware`, if there is one, which is changed.
        temperature: positive.

    Raises:
        RecipeError: the probabilities are not a softmax of what the last layer with weights is linear in.
    """
    pixels = np.random.default_rng(1).random((8, *core.input_shape[1:]), np.float32)
    before = core(pixels, training=False).numpy()
    last = [layer for layer in core.layers if layer.weights][-1]
    _divide_weights(last, temperature)
    difference = np.abs(core(pixels, training=False).numpy() - scale_probabilities(before, temperature)).max()
    if not difference <= FOLDING_TOLERANCE:
        raise RecipeError(
            "export.temperature_scaling: expected a network that ends in a layer with weights and a softmax, found "
            f"{last.name} ({type(last).__name__}), whose scaling changes probabilities in another way"
        )
    if quantized is not None:
        _divide_weights(quantized.get_layer(f"quant_{last.name}"), temperature)


def _divide_weights(layer: Any, temperature: float) -> None:
    for weight in layer.weights:
        if weight.dtype.is_floating:  # not the step counter of quantization-aware training
            weight.assign(weight / temperature)
