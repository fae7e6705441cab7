"""Multiply-adds of one inference, counted from a model file's graph, separately for float and integer arithmetic.

Counted are convolutions, weighted poolings and matrix products: the rest of these networks is a negligible share.
Zero weights count too, because dense kernels multiply by them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feredge.inference.c_source import read_c_source
from feredge.inspection import flatbuffer
from feredge.recipes.variant import MIRROR_VARIANT, VIEWS

_INTEGER_OPS = ("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")
_INTEGER_TYPES = ("INT8", "UINT8", "INT16")


@dataclass(frozen=True)
class Macs:
    """Multiply-adds of one inference: those done on floating-point numbers, and those on integers."""

    floating: int
    integer: int


def count(path: Path) -> Macs | None:
    """Return the multiply-adds of one image; None for other formats, or where the format's reader is not installed."""
    read = {".onnx": _onnx, ".tflite": _tflite, ".c": _tflite}.get(path.suffix)
    if read is None:
        return None
    try:
        operations = list(read(path))
    except ImportError:  # onnx and LiteRT's schema come with the workshop only
        return None
    if path.suffix == ".c" and json.loads(read_c_source(path.read_bytes()).card)["variant"] == MIRROR_VARIANT:
        operations *= VIEWS  # its graph is of one view
    integer = sum(macs for macs, is_integer in operations if is_integer)
    total = sum(macs for macs, _ in operations)
    return Macs(floating=total - integer, integer=integer) if total else None


def _onnx(path: Path) -> Iterable[tuple[int, bool]]:
    """Yield (multiply-adds, in integers) of each operation of an ONNX file."""
    import onnx

    model = onnx.load(path)
    for value in model.graph.input:  # one image, of which the graph may run several views
        if value.type.tensor_type.shape.dim and value.type.tensor_type.shape.dim[0].dim_param:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        shapes.setdefault(value.name, tuple(dim.dim_value or 1 for dim in dims))  # a free batch counts as one image
    constants = {tensor.name for tensor in graph.initializer}
    dequantized = {
        node.output[0]: node.input[0] not in constants for node in graph.node if node.op_type == "DequantizeLinear"
    }
    for node in graph.node:
        data, kernel = (0, 3) if node.op_type.startswith("QLinear") else (0, 1)
        if node.op_type in ("Conv", "ConvInteger", "QLinearConv"):
            macs = _output_size(shapes, node) * math.prod(shapes[node.input[kernel]][1:])
        elif node.op_type == "ConvTranspose":
            macs = math.prod(shapes[node.input[data]]) * math.prod(shapes[node.input[kernel]][1:])
        elif node.op_type in ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul"):
            transposed = any(item.name == "transA" and item.i for item in node.attribute)
            macs = _output_size(shapes, node) * shapes[node.input[data]][-2 if transposed else -1]
        else:
            continue
        # A runtime fuses dequantized activations, operation and quantization into one operation on integers.
        yield macs, node.op_type in _INTEGER_OPS or dequantized.get(node.input[data], False)


def _output_size(shapes: dict[str, tuple[int, ...]], node: Any) -> int:
    return math.prod(shapes[node.output[0]])


def _tflite(path: Path) -> Iterable[tuple[int, bool]]:
    """Yield (multiply-adds, in integers) of each operation of a TFLite file."""
    model = flatbuffer.read(path)
    graph = model.subgraphs[0]
    with_kernel = {id(operator) for operator in flatbuffer.kernel_operators(model)}
    for name, operator in zip(flatbuffer.operator_names(model), graph.operators, strict=True):
        if id(operator) not in with_kernel and name != "BATCH_MATMUL":
            continue
        tensors = [graph.tensors[index] for index in operator.inputs if index >= 0]
        data, kernel = (tensors[2], tensors[1]) if name == "TRANSPOSE_CONV" else (tensors[0], tensors[1])
        outputs = math.prod(flatbuffer.dims(graph.tensors[operator.outputs[0]]))
        shape = flatbuffer.dims(kernel)
        macs = {
            "CONV_2D": outputs * math.prod(shape[1:]),
            "DEPTHWISE_CONV_2D": outputs * math.prod(shape[1:3]),
            "FULLY_CONNECTED": outputs * shape[-1],
            "TRANSPOSE_CONV": math.prod(flatbuffer.dims(data)) * math.prod(shape[:3]),
            "MUL": outputs,  # of a weighted pooling
            "BATCH_MATMUL": outputs * flatbuffer.dims(data)[-1],
        }[name]
        # Of float data and integer weights, the kernel quantizes the data at run time.
        yield macs, any(flatbuffer.type_name(tensor) in _INTEGER_TYPES for tensor in (data, kernel))
