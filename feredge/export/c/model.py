"""The graph of an int8 TensorFlow Lite file, with every shape checked: what a C library is generated from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError
from feredge.export.c.shapes import check_shapes
from feredge.inference.flatbuffer_reader import FlatbufferReader, Table
from feredge.inference.tflite_check import check_tflite
from feredge.inference.tflite_schema import OPERATOR_RULES, TFLITE_SCHEMA, OperatorRule

DTYPE_NAMES = {0: "float32", 2: "int32", 3: "uint8", 4: "int64", 9: "int8"}
"""Names of the element types, by TensorType number; others are named by their number."""
SUPPORTED_OPERATORS = (
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE", "ELU", "FULLY_CONNECTED",
    "LOGISTIC", "MAX_POOL_2D", "MEAN", "MUL", "PAD", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "SOFTMAX",
)  # fmt: skip
INTEGER_OPERANDS = {"MEAN": (1,), "PAD": (1,), "RESHAPE": (1,)}
"""Inputs that are int32 constants (axes, paddings, shapes), by operator."""
BIAS_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the graph.

    Attributes:
        dtype: a name of DTYPE_NAMES.
        scales: `float32`, one, or one per channel; empty if not quantized.
        zero_point: of all channels; if they differ, the largest in magnitude: kernels must have 0.
        data: its values if it is a constant, else None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: NDArray[np.float32]
    zero_point: int
    data: NDArray[Any] | None

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def scale(self) -> np.float32:
        """The scale of a per-tensor quantization."""
        return np.float32(self.scales[0])


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator: its name in the schema, its tensors' indices (-1 for an absent one), and its options."""

    name: str
    inputs: tuple[int, ...]
    output: int
    options: Table


@dataclass(frozen=True, eq=False)
class Model:
    """A graph of one uint8 image to one vector of class probabilities, in integers.

    Attributes:
        tensors: all tensors, by index.
        operators: in topological order.
        input, output: indices of the graph's input and output.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    input: int
    output: int

    def operand(self, operator: Operator, position: int = 0) -> Tensor:
        """Return an input tensor of an operator."""
        return self.tensors[operator.inputs[position]]

    def result(self, operator: Operator) -> Tensor:
        """Return an operator's output tensor."""
        return self.tensors[operator.output]


def read_model(data: bytes) -> Model:
    """Read and check the flatbuffer of an int8 TensorFlow Lite model.

    Raises:
        ArtifactError: a damaged file, an operator outside SUPPORTED_OPERATORS, float or hybrid arithmetic, shapes that
            do not fit, or an input that is not one image of uint8 pixels. The text does not name the file.
    """
    check_tflite(data)
    reader = FlatbufferReader(data, TFLITE_SCHEMA)
    root = reader.root("Model", b"TFL3")
    graph = root["subgraphs"][0]
    rules = [
        OPERATOR_RULES[max(code.get("deprecated_builtin_code", 0), code.get("builtin_code", 0))]
        for code in root.get("operator_codes", [])
    ]
    if len(graph["inputs"]) != 1 or len(graph["outputs"]) != 1:
        raise ArtifactError(
            f"expected one input and one output, found {len(graph['inputs'])} and {len(graph['outputs'])}"
        )
    model = Model(
        tensors=tuple(_tensor(tensor, root["buffers"]) for tensor in graph.get("tensors", [])),
        operators=tuple(_operator(reader, item, rules) for item in graph.get("operators", [])),
        input=int(graph["inputs"][0]),
        output=int(graph["outputs"][0]),
    )
    _check_types(model)
    check_shapes(model)
    return model


def _tensor(tensor: Table, buffers: list[Table]) -> Tensor:
    quantization = tensor.get("quantization", {})
    zero_points = quantization.get("zero_point", ())
    dtype = DTYPE_NAMES.get(tensor.get("type", 0), f"type {tensor.get('type', 0)}")
    shape = tuple(map(int, tensor.get("shape", ())))
    raw = buffers[tensor.get("buffer", 0)].get("data", ())
    data = None
    if len(raw) and dtype in DTYPE_NAMES.values():
        data = np.frombuffer(bytes(raw), np.dtype(dtype).newbyteorder("<")).reshape(shape)
    return Tensor(
        name=str(tensor.get("name", "")),
        shape=shape,
        dtype=dtype,
        scales=np.array(quantization.get("scale", ()), np.float32),
        zero_point=int(zero_points[np.abs(zero_points).argmax()]) if len(zero_points) else 0,
        data=data,
    )


def _operator(reader: FlatbufferReader, operator: Table, rules: list[OperatorRule]) -> Operator:
    rule = rules[operator.get("opcode_index", 0)]
    if rule.name not in SUPPORTED_OPERATORS:
        raise ArtifactError(f"expected operators of a C library ({', '.join(SUPPORTED_OPERATORS)}), found {rule.name}")
    options = reader.table(rule.options, operator["options"]) if operator.get("options_type", 0) else {}
    return Operator(rule.name, tuple(map(int, operator["inputs"])), int(operator["outputs"][0]), options)


def _check_types(model: Model) -> None:
    """Check that arithmetic is on int8, with int32 biases; the input is uint8, the output may be uint8 or float32."""
    image, output = model.tensors[model.input], model.tensors[model.output]
    if image.dtype != "uint8" or len(image.shape) != 4 or image.shape[0] != 1:
        raise ArtifactError(f"expected an input of uint8 (1, H, W, C), found {image.dtype} {image.shape}")
    if output.dtype not in ("int8", "uint8", "float32") or len(output.shape) != 2 or output.shape[0] != 1:
        raise ArtifactError(f"expected an output of (1, classes), found {output.dtype} {output.shape}")
    for number, operator in enumerate(model.operators):
        name = f"operator {number} {operator.name}"
        for position, index in enumerate(operator.inputs):
            if index < 0:
                continue
            allowed = {"int8"}
            if position in INTEGER_OPERANDS.get(operator.name, ()) or (position, operator.name) in _BIASES:
                allowed = {"int32"}
            elif operator.name == "QUANTIZE" and index == model.input:
                allowed = {"uint8"}
            _check_tensor(model.tensors[index], allowed, name, constant=allowed == {"int32"})
        is_last = operator.output == model.output
        allowed = {"QUANTIZE": {"int8", "uint8"}, "DEQUANTIZE": {"float32"}}.get(operator.name, {"int8"})
        _check_tensor(model.result(operator), allowed if is_last else {"int8"}, name)
        weights = model.operand(operator, 1) if operator.name in BIAS_OPERATORS else None
        if weights is not None and (weights.data is None or weights.zero_point):
            raise ArtifactError(f"{name}: expected constant weights of zero point 0, found others")


_BIASES = {(2, operator) for operator in BIAS_OPERATORS}


def _check_tensor(tensor: Tensor, allowed: set[str], name: str, *, constant: bool = False) -> None:
    if tensor.dtype not in allowed:
        raise ArtifactError(f"{name}: expected {' or '.join(sorted(allowed))} in an int8 file, found {tensor.dtype}")
    if constant and tensor.data is None:
        raise ArtifactError(f"{name}: expected a constant of int32, found a computed one")
    if not tensor.shape and tensor.data is None:
        raise ArtifactError(f"{name}: expected computed tensors of at least one dimension, found a scalar")
    if tensor.dtype in ("int8", "uint8") and not len(tensor.scales):
        raise ArtifactError(f"{name}: expected quantized tensors, found one without a scale")
