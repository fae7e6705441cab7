"""The arithmetic of TensorFlow Lite Micro and the reference kernels: integers only, with two roundings.

Source: https://github.com/tensorflow/tflite-micro, tensorflow/lite/kernels/internal/reference/ and
tensorflow/lite/micro/kernels/. The functions have the names and arguments of those in `feredge.export.c.xnnpack`;
layers.py calls those of one of the two modules.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError
from feredge.export.c import fixed_point
from feredge.export.c.fixed_point import quantize_multiplier
from feredge.export.c.model import Tensor
from feredge.export.c.xnnpack import RELU_BOUNDS

KERNEL_FILE = "tflm.h"
ADD_LEFT_SHIFT = 20
SOFTMAX_INTEGER_BITS, LOGISTIC_INTEGER_BITS = 5, 4


def activation_bound(value: float, output: Tensor) -> int:
    """Return the quantized bound of a fused activation."""
    return _round(float(np.float32(value) / output.scale)) + output.zero_point


def _round(value: float) -> int:
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def convolution_rescaling(input: Tensor, weights: Tensor, output: Tensor, bound: int) -> dict[str, list[str]]:
    """Return the C arrays that map a sum of products to the output: a multiplier and a shift per channel.

    Raises:
        ArtifactError: a sum up to `bound` would overflow 32 bits.
    """
    if len(weights.shape) == 2 and len(weights.scales) == 1:  # TFLite multiplies these scales in float32
        scales = [float(input.scale * weights.scale) / float(output.scale)]
    else:
        scales = [float(input.scale) * float(scale) / float(output.scale) for scale in weights.scales]
    return _multipliers(scales, bound)


def product_rescaling(first: Tensor, second: Tensor, output: Tensor, bound: int) -> dict[str, list[str]]:
    """Return the C arrays that map a product to the output."""
    return _multipliers([float(first.scale) * float(second.scale) / float(output.scale)], bound)


def mean_rescaling(input: Tensor, count: int, output: Tensor) -> dict[str, list[str]]:
    """Return the C arrays that map a sum of `count` values, without the zero point, to the output."""
    multiplier, shift = quantize_multiplier(float(input.scale) / float(output.scale))
    count_shift = min(count.bit_length() - 1, 32, 31 + shift)
    return _arrays([((multiplier << count_shift) // count, shift - count_shift)])


def _multipliers(scales: list[float], bound: int) -> dict[str, list[str]]:
    pairs = [quantize_multiplier(scale) for scale in scales]
    if bound << max(0, *(shift for _, shift in pairs)) > fixed_point.INT32_MAX:
        raise ArtifactError(f"expected scales whose sums fit into 32 bits, found one of {max(scales):g}")
    return _arrays(pairs)


def _arrays(pairs: list[tuple[int, int]]) -> dict[str, list[str]]:
    return {
        "int32_t multiplier": [str(multiplier) for multiplier, _ in pairs],
        "int8_t shift": [str(shift) for _, shift in pairs],
    }


def add_layer(first: Tensor, second: Tensor, output: Tensor) -> list[str]:
    """Return the fields of the C struct of an addition: zero points, and three multipliers with their shifts."""
    twice_largest = 2 * max(float(first.scale), float(second.scale))
    pairs = [
        quantize_multiplier(float(first.scale) / twice_largest),
        quantize_multiplier(float(second.scale) / twice_largest),
        quantize_multiplier(twice_largest / ((1 << ADD_LEFT_SHIFT) * float(output.scale))),
    ]
    if pairs[2][1] > 0:
        raise ArtifactError(f"expected scales near each other in ADD, found {twice_largest / 2:g} and {output.scale:g}")
    fields = [first.zero_point, second.zero_point, *(number for pair in pairs for number in pair)]
    return [str(number) for number in fields]


def softmax_table(input: Tensor, beta: float) -> tuple[str, list[str]]:
    """Return the C type and 256 raw exponentials of differences from -255 to 0; 0 below the smallest in range."""
    real_multiplier = min(
        float(np.float32(beta)) * float(input.scale) * (1 << (31 - SOFTMAX_INTEGER_BITS)), (1 << 31) - 1.0
    )
    multiplier, shift = quantize_multiplier(real_multiplier)
    smallest = -fixed_point.input_radius(SOFTMAX_INTEGER_BITS, shift)
    rescaled = [fixed_point.multiply(difference, multiplier, shift) for difference in range(-255, 1)]
    return "int32_t", [
        str(fixed_point.exp_on_negative_values(value, SOFTMAX_INTEGER_BITS)) if difference >= smallest else "0"
        for difference, value in zip(range(-255, 1), rescaled, strict=True)
    ]


def unary_table(operator: str, input: Tensor, output: Tensor) -> NDArray[np.int8]:
    """Return an element-wise operator's int8 output for each int8 input from -128 to 127."""
    values = [value - input.zero_point for value in range(-128, 128)]
    if operator == "LOGISTIC":
        return np.array([_logistic(value, input) for value in values], np.int8)
    if operator == "ELU":
        dequantized = input.scale * np.array(values, np.float32)
        exponentials = np.exp(np.minimum(dequantized, 0).astype(np.float64)).astype(np.float32)
        elu = np.where(dequantized < 0, exponentials - np.float32(1), dequantized)
        rescaled = [_round(float(value)) for value in elu * (np.float32(1) / output.scale)]
        return np.clip(np.array(rescaled) + output.zero_point, -128, 127).astype(np.int8)  # type: ignore[no-any-return]
    multiplier, shift = quantize_multiplier(float(input.scale) / float(output.scale))
    rescaled = [fixed_point.multiply(value, multiplier, shift) + output.zero_point for value in values]
    return np.clip(rescaled, *unary_bounds(operator, output)).astype(np.int8)  # type: ignore[no-any-return]


def unary_bounds(operator: str, output: Tensor) -> tuple[int, int]:
    """Return the least and largest quantized output of a ReLU; those of int8 for an operator without bounds."""
    low, high = RELU_BOUNDS.get(operator, (-math.inf, math.inf))
    least = -128 if low == -math.inf else max(-128, activation_bound(low, output))
    return least, 127 if high == math.inf else min(127, activation_bound(high, output))


def _logistic(value: int, input: Tensor) -> int:
    multiplier, shift = quantize_multiplier(float(input.scale) * (1 << (31 - LOGISTIC_INTEGER_BITS)))
    radius = fixed_point.input_radius(LOGISTIC_INTEGER_BITS, shift)
    if abs(value) >= radius:
        return -128 if value < 0 else 127
    raw = fixed_point.logistic(fixed_point.multiply(value, multiplier, shift), LOGISTIC_INTEGER_BITS)
    return max(-128, min(127, fixed_point.divide_by_power(raw, 23) - 128))
