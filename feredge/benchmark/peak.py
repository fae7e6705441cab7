"""The machine's peak: multiply-adds a second of a large matrix product on one thread, in float32 and in int8.

Measured in onnxruntime, and for float32 in numpy too; the fastest of all sizes and runs counts. It is the peak of the
kernels on this machine, not the theoretical one of its data sheet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

MATRIX_SIZES = (256, 512, 1024)
SECONDS_PER_PRODUCT = 0.15
"""For each size and library."""
_ONNX_FLOAT, _ONNX_UINT8, _ONNX_INT8, _ONNX_INT32, _ONNX_INT64 = 1, 2, 3, 6, 7
"""TensorProto.DataType."""


def measure_peaks(*, seconds: float = SECONDS_PER_PRODUCT) -> dict[str, float]:
    """Return multiply-adds a second by precision, `float32` and `int8`. numpy's threads are set by the environment."""
    floats = [
        rate for size in MATRIX_SIZES for rate in (_numpy(size, seconds), _onnxruntime(size, seconds, integer=False))
    ]
    integers = [_onnxruntime(size, seconds, integer=True) for size in MATRIX_SIZES]
    return {"float32": max(floats), "int8": max(integers)}


def _numpy(size: int, seconds: float) -> float:
    matrix = np.random.default_rng(1).random((size, size), np.float32)
    out = np.empty_like(matrix)
    return size**3 / _fastest(lambda: np.matmul(matrix, matrix, out=out), seconds)


def _onnxruntime(size: int, seconds: float, *, integer: bool) -> float:
    from feredge.inference.runtimes import onnx_session

    session = onnx_session(_product(size, integer=integer), threads=1)
    random = np.random.default_rng(1)
    data: Any = random.random((size, size), np.float32)
    if integer:
        data = random.integers(0, 256, (size, size), np.uint8)
    return size**3 / _fastest(lambda: session.run(None, {"data": data}), seconds)


def _fastest(call: Callable[[], object], seconds: float) -> float:
    """Return the seconds of the fastest call."""
    call()
    best, deadline = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        call()
        end = time.perf_counter()
        best = min(best, end - start)
        if end >= deadline:
            return best


def _product(size: int, *, integer: bool) -> bytes:
    """Return an ONNX model, `data (size, size)` times a constant matrix, encoded without the onnx package.

    The constant is a ConstantOfShape node, which onnxruntime folds when it loads the model and then prepacks, as it
    does a file's weights.
    """
    value = _field(1, 1) + (
        _field(2, _ONNX_INT8) + _field(5, 3) if integer else _field(2, _ONNX_FLOAT) + _floats(4, 1.5)
    )
    sides = _field(1, 2) + _field(2, _ONNX_INT64) + _packed(7, (size, size)) + _text(8, "sides")
    fill = _text(1, "value") + _field(20, 4) + _bytes(5, value)
    nodes = [
        _text(1, "sides") + _text(2, "weights") + _text(4, "ConstantOfShape") + _bytes(5, fill),
        _text(1, "data") + _text(1, "weights") + _text(2, "out") + _text(4, "MatMulInteger" if integer else "MatMul"),
    ]
    graph = b"".join(_bytes(1, node) for node in nodes) + _text(2, "product") + _bytes(5, sides)
    graph += _bytes(11, _value("data", _ONNX_UINT8 if integer else _ONNX_FLOAT, size))
    graph += _bytes(12, _value("out", _ONNX_INT32 if integer else _ONNX_FLOAT, size))
    return _field(1, 8) + _bytes(7, graph) + _bytes(8, _text(1, "") + _field(2, 17))


def _value(name: str, data_type: int, size: int) -> bytes:
    side = _bytes(1, _field(1, size))
    return _text(1, name) + _bytes(2, _bytes(1, _field(1, data_type) + _bytes(2, side + side)))


# Protocol buffers: a field's number and wire type, then its value (https://protobuf.dev/programming-guides/encoding).


def _field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _packed(number: int, values: tuple[int, ...]) -> bytes:
    return _bytes(number, b"".join(map(_varint, values)))


def _floats(number: int, *values: float) -> bytes:
    return _bytes(number, np.array(values, "<f4").tobytes())


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes((*digits, value))
