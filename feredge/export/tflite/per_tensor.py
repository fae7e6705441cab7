"""Per-tensor scales of int8 kernels in a flatbuffer, so that equal weights stay equal.

The converter's own per-tensor option fails for depthwise kernels: with float activations, LiteRT reads a scale for
every channel, past the end of a single one; with int16 activations, the conversion fails. So the scale is repeated.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.inspection import flatbuffer

INT8_MAX = 127


def requantize_per_tensor(model: bytes, original: bytes) -> bytes:
    """Return `model` with its int8 kernels quantized again, per tensor, from those of `original`.

    Args:
        model: a flatbuffer with per-channel scales; its biases are float32 or, with int16 activations, int64.
        original: the flatbuffer of the same network in float32.
    """
    parsed, source = flatbuffer.parse(model), flatbuffer.parse(original)
    for operator, source_operator in zip(
        flatbuffer.kernel_operators(parsed), flatbuffer.kernel_operators(source), strict=True
    ):
        if flatbuffer.constant(parsed, operator.inputs[1]).dtype == np.int8:  # small kernels are float32
            _requantize(parsed, operator, flatbuffer.constant(source, source_operator.inputs[1]))
    return flatbuffer.pack(parsed)


def _requantize(model: Any, operator: Any, weights: NDArray[np.float32]) -> None:
    activations, kernel = (model.subgraphs[0].tensors[index] for index in operator.inputs[:2])
    scale = np.float32(np.abs(weights).max() / INT8_MAX)
    flatbuffer.store(model, operator.inputs[1], np.rint(weights / scale).astype(np.int8))
    kernel.quantization.scale = np.full_like(kernel.quantization.scale, scale)
    for index in operator.inputs[2:]:
        bias = flatbuffer.constant(model, index) if index >= 0 else np.empty(0)
        if bias.dtype == np.int64:  # its scale is the input's times the kernel's
            quantization = model.subgraphs[0].tensors[index].quantization
            bias_scale = np.full_like(quantization.scale, activations.quantization.scale[0] * scale)
            flatbuffer.store(model, index, np.rint(bias * (quantization.scale / bias_scale)).astype(np.int64))
            quantization.scale = bias_scale
