"""Compiles and runs generated C libraries, and runs their models in LiteRT."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from feredge.export.c.compiler import compile_library
from feredge.export.c.source import generate
from feredge.inference.tflite import TFLiteGraph, litert_interpreter


def litert_outputs(model: bytes, images: np.ndarray, *, reference: bool = False) -> np.ndarray:
    """Return `float32 (N, outputs)`, image by image: of XNNPACK, or of the reference kernels."""
    interpreter = litert_interpreter(model)
    if reference:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    graph = TFLiteGraph(interpreter)
    return np.concatenate([graph.run(image[None]) for image in images])


def run_library(model: bytes, images: np.ndarray, folder: Path, *, arithmetic: Any = "xnnpack") -> np.ndarray:
    """Return `float32 (N, outputs)` of the library of `model`, compiled for this CPU."""
    outputs = int(np.prod(TFLiteGraph(litert_interpreter(model)).output["shape"]))
    library = generate(model, name="net", classes=[f"c{number}" for number in range(outputs)], arithmetic=arithmetic)
    source = folder / "net.c"
    source.write_text(library.source)
    compile_library(source, folder / "net.so")
    predict = ctypes.CDLL(str(folder / "net.so")).feredge_net_predict
    rows = np.empty((len(images), outputs), np.float32)
    for image, row in zip(images, rows, strict=True):
        best = predict(image.ctypes.data_as(ctypes.c_void_p), row.ctypes.data_as(ctypes.c_void_p))
        assert best == row.argmax()
    return rows
