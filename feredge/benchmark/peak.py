"""The machine's peak: multiply-adds a second of a large matrix product on one thread, in float32 and in int8.

Measured in onnxruntime, and for float32 in numpy too; the fastest of all sizes and runs counts. It is the peak of the
kernels on this machine, not the theoretical one of its data sheet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

MATRIX_SIZES = (256, 512, 1024)
SECONDS_PER_PRODUCT = 0.15
"""For each size and library."""
MODELS_FOLDER = Path(__file__).parent / "matrix_products"
"""ONNX models: a square matrix times a constant one, `float32-SIZE.onnx` and `int8-SIZE.onnx`. The constant is a
ConstantOfShape node, which onnxruntime folds when it loads the model and then prepacks, as it does a file's weights."""


def measure_peaks(*, seconds: float = SECONDS_PER_PRODUCT) -> dict[str, float]:
    """Return multiply-adds a second by precision, `float32` and `int8`. numpy's threads are set by the environment."""
    floats = [rate for size in MATRIX_SIZES for rate in (_numpy(size, seconds), _onnxruntime(size, seconds, "float32"))]
    integers = [_onnxruntime(size, seconds, "int8") for size in MATRIX_SIZES]
    return {"float32": max(floats), "int8": max(integers)}


def _numpy(size: int, seconds: float) -> float:
    matrix = np.random.default_rng(1).random((size, size), np.float32)
    out = np.empty_like(matrix)
    return size**3 / _fastest(lambda: np.matmul(matrix, matrix, out=out), seconds)


def _onnxruntime(size: int, seconds: float, precision: Literal["float32", "int8"]) -> float:
    from feredge.inference.runtimes import onnx_session

    session = onnx_session(str(MODELS_FOLDER / f"{precision}-{size}.onnx"), threads=1)
    random = np.random.default_rng(1)
    data: Any = random.random((size, size), np.float32)
    if precision == "int8":
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
