"""The arithmetic of XNNPACK, which LiteRT runs on phones, Raspberry Pis, browsers and desktops: float32 rescaling.

Source: https://github.com/google/XNNPACK, src/microparams-init.c and src/operators/. Operators that its delegate does
not take run in LiteRT's built-in kernels, so they do here: softmax, average pooling, and conversion from uint8.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError
from feredge.export.c import fixed_point
from feredge.export.c.model import Tensor

KERNEL_FILE = "xnnpack.h"
ADD_MULTIPLIER_BITS = 20


def activation_bound(value: float, output: Tensor) -> int:
    """Return the quantized bound of a fused activation."""
    return round(float(np.float32(value) / output.scale)) + output.zero_point


def convolution_rescaling(input: Tensor, weights: Tensor, output: Tensor, bound: int) -> dict[str, list[str]]:
    """Return the C arrays that map a sum of products to the output: a float per channel.

    Args:
        bound: the largest absolute sum.
    """
    del bound
    return _scales(input.scale * weights.scales / output.scale)


def product_rescaling(first: Tensor, second: Tensor, output: Tensor, bound: int) -> dict[str, list[str]]:
    """Return the C arrays that map a product to the output."""
    del bound
    return _scales(first.scale * second.scales[:1] / output.scale)


def mean_rescaling(input: Tensor, count: int, output: Tensor) -> dict[str, list[str]]:
    """Return the C arrays that map a sum of `count` values, without the zero point, to the output."""
    return _scales(input.scales[:1] / output.scale / np.float32(count))


def _scales(scales: NDArray[np.float32]) -> dict[str, list[str]]:
    return {"float scale": [float_literal(scale) for scale in scales]}


def add_layer(first: Tensor, second: Tensor, output: Tensor) -> list[str]:
    """Return the fields of the C struct of an addition: two multipliers, a bias and a shift."""
    ratios = [tensor.scale / output.scale for tensor in (first, second)]
    shift = ADD_MULTIPLIER_BITS - (math.frexp(float(max(ratios)))[1] - 1)
    if not 12 <= shift <= 30:
        raise ArtifactError(f"expected scales near each other in ADD, found ratios {ratios[0]:g} and {ratios[1]:g}")
    multipliers = [round(math.ldexp(float(ratio), shift)) for ratio in ratios]
    bias = (1 << (shift - 1)) - multipliers[0] * first.zero_point - multipliers[1] * second.zero_point
    return [*map(str, multipliers), str(bias), str(shift)]


def softmax_table(input: Tensor, beta: float) -> tuple[str, list[str]]:
    """Return the C type and 256 values of exp(beta * scale * (d - 255)) for d from 0 to 255."""
    scale = -input.scale * np.float32(beta)
    differences = np.arange(255, -1, -1, dtype=np.float32)
    values = np.exp((scale * differences).astype(np.float64)).astype(np.float32)
    return "float", [float_literal(value) for value in values]


def unary_table(operator: str, input: Tensor, output: Tensor) -> NDArray[np.int8]:
    """Return an element-wise operator's int8 output for each int8 input from -128 to 127."""
    if operator in ("QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1"):
        return _converted(operator, input, output)
    values = input.scale * (np.arange(-128, 128) - input.zero_point).astype(np.float32)
    result = _FUNCTIONS[operator](values.astype(np.float64)).astype(np.float32)
    quantized = result * (np.float32(1) / output.scale) + np.float32(output.zero_point)
    return np.clip(np.rint(quantized), -128, 127).astype(np.int8)  # type: ignore[no-any-return]


_FUNCTIONS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "ELU": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    "LOGISTIC": lambda x: 1 / (1 + np.exp(-x)),
}


def _converted(operator: str, input: Tensor, output: Tensor) -> NDArray[np.int8]:
    """Return the table of a change of scale, with the bounds of a ReLU: 8 fractional bits, halves upwards."""
    multiplier = round(float(input.scale / output.scale) * 256)
    values = (128 + (np.arange(-128, 128) - input.zero_point) * multiplier >> 8) + output.zero_point
    return np.clip(values, *unary_bounds(operator, output)).astype(np.int8)  # type: ignore[no-any-return]


def unary_bounds(operator: str, output: Tensor) -> tuple[int, int]:
    """Return the least and largest quantized output of a ReLU."""
    low, high = RELU_BOUNDS.get(operator, (-math.inf, math.inf))
    least = -128 if low == -math.inf else max(-128, activation_bound(low, output))
    return least, 127 if high == math.inf else min(127, activation_bound(high, output))


RELU_BOUNDS = {"RELU": (0, math.inf), "RELU6": (0, 6), "RELU_N1_TO_1": (-1, 1)}


def quantize_uint8(input: Tensor, output: Tensor) -> tuple[int, int]:
    """Return the multiplier and shift of the conversion from uint8 or to it."""
    return fixed_point.quantize_multiplier(float(input.scale) / float(output.scale))


def float_literal(value: np.floating) -> str:
    """Return a float32 as an exact C literal."""
    text = f"{float(value):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"
