"""One scale for all channels of an int8 kernel in a flatbuffer, so that equal weights stay equal.

The converter has a switch for it, which is of no use with depthwise kernels: with activations in float, LiteRT reads
a scale for every channel, past the end of the only one; with activations in int16, the converter fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.inspection import flatbuffer

LARGEST = 127


def with_one_scale(model: bytes, original: bytes) -> bytes:
    """Return `model` with its int8 kernels stored anew, from those of `original`.

    Args:
        model: a flatbuffer with a scale for each channel; biases in float or, beside int16 activations, int64.
        original: of the same network in float32.
    """
    parsed, source = flatbuffer.parse(model), flatbuffer.parse(original)
    for operator, twin in zip(flatbuffer.kernel_operators(parsed), flatbuffer.kernel_operators(source), strict=True):
        if flatbuffer.constant(parsed, operator.inputs[1]).dtype == np.int8:  # small kernels are left in float
            _rescale(parsed, operator, flatbuffer.constant(source, twin.inputs[1]))
    return flatbuffer.pack(parsed)


def _rescale(model: Any, operator: Any, weights: NDArray[np.float32]) -> None:
    given, kernel = (model.subgraphs[0].tensors[index] for index in operator.inputs[:2])
    scale = np.float32(np.abs(weights).max() / LARGEST)
    flatbuffer.store(model, operator.inputs[1], np.rint(weights / scale).astype(np.int8))
    kernel.quantization.scale = np.full_like(kernel.quantization.scale, scale)
    for index in operator.inputs[2:]:
        shifts = flatbuffer.constant(model, index) if index >= 0 else np.empty(0)
        if shifts.dtype == np.int64:  # its step is one of the input times one of the kernel
            before = model.subgraphs[0].tensors[index].quantization
            after = np.full_like(before.scale, given.quantization.scale[0] * scale)
            flatbuffer.store(model, index, np.rint(shifts * (before.scale / after)).astype(np.int64))
            before.scale = after
