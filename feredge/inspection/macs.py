"""Multiply-adds of one inference, counted from a file's own graph, apart by the arithmetic that they are done in.

Convolutions, weighted poolings and matrix products only: nothing else in these networks takes a share worth counting.
Zeros count too, because dense kernels multiply by them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_INTEGER_OPS = ("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")


@dataclass(frozen=True)
class Macs:
    """Multiply-adds of one inference: those done on floating-point numbers, and those on integers."""

    floating: int
    integer: int


def count(path: Path) -> Macs | None:
    """Return the multiply-adds of one image; None where the file, or this machine, cannot tell."""
    read = {".onnx": _onnx, ".tflite": _tflite}.get(path.suffix)
    if read is None:
        return None
    try:
        found = list(read(path))
    except ImportError:  # onnx and LiteRT's schema come with the workshop only
        return None
    integer = sum(macs for macs, is_integer in found if is_integer)
    total = sum(macs for macs, _ in found)
    return Macs(floating=total - integer, integer=integer) if total else None


def _onnx(path: Path) -> Iterable[tuple[int, bool]]:
    """Yield (multiply-adds, in integers) of each operation of an ONNX file."""
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        shapes.setdefault(value.name, tuple(dim.dim_value or 1 for dim in dims))  # a free batch counts as one image
    constants = {tensor.name for tensor in graph.initializer}
    dequantized = {
        node.output[0]: node.input[0] not in constants for node in graph.node if node.op_type == "DequantizeLinear"
    }
    for node in graph.node:
        data, weights = (0, 3) if node.op_type.startswith("QLinear") else (0, 1)
        if node.op_type in ("Conv", "ConvInteger", "QLinearConv"):
            macs = _outputs(shapes, node) * math.prod(shapes[node.input[weights]][1:])
        elif node.op_type == "ConvTranspose":
            macs = math.prod(shapes[node.input[data]]) * math.prod(shapes[node.input[weights]][1:])
        elif node.op_type in ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul"):
            transposed = any(item.name == "transA" and item.i for item in node.attribute)
            macs = _outputs(shapes, node) * shapes[node.input[data]][-2 if transposed else -1]
        else:
            continue
        # A runtime fuses dequantized activations, operation and quantization into one operation on integers.
        yield macs, node.op_type in _INTEGER_OPS or dequantized.get(node.input[data], False)


def _outputs(shapes: dict[str, tuple[int, ...]], node: Any) -> int:
    return math.prod(shapes[node.output[0]])


def _tflite(path: Path) -> Iterable[tuple[int, bool]]:
    """Yield (multiply-adds, in integers) of each operation of a TFLite file."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    graph = model.subgraphs[0]
    operators, kinds = schema.BuiltinOperator, schema.TensorType
    integers = (kinds.INT8, kinds.UINT8, kinds.INT16)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    computed = {*graph.inputs}
    for operator in graph.operators:
        code = codes[operator.opcodeIndex]
        if code != operators.DEQUANTIZE:  # of float16 kernels
            computed |= {*operator.outputs}
        tensors = [graph.tensors[index] for index in operator.inputs if index >= 0]
        output = _dims(graph.tensors[operator.outputs[0]])
        if code in (operators.CONV_2D, operators.DEPTHWISE_CONV_2D):
            data, weights = tensors[0], tensors[1]
            each = _dims(weights)[1:] if code == operators.CONV_2D else _dims(weights)[1:3]
            macs = math.prod(output) * math.prod(each)
        elif code == operators.FULLY_CONNECTED:
            data, weights = tensors[0], tensors[1]
            macs = math.prod(output) * _dims(weights)[-1]
        elif code == operators.TRANSPOSE_CONV:
            weights, data = tensors[1], tensors[2]
            macs = math.prod(_dims(data)) * math.prod(_dims(weights)[:3])
        elif code == operators.MUL and operator.inputs[1] not in computed and math.prod(_dims(tensors[1])[1:3]) > 1:
            data, weights = tensors  # weights of places
            macs = math.prod(output)
        elif code == operators.BATCH_MATMUL:
            data, weights = tensors[0], tensors[1]
            macs = math.prod(output) * _dims(data)[-1]
        else:
            continue
        # Float data and integer weights: the kernel quantizes the data on the way in.
        yield macs, data.type in integers or weights.type in integers


def _dims(tensor: Any) -> Sequence[int]:
    return [max(int(side), 1) for side in tensor.shape] if tensor.shape is not None else [1]
