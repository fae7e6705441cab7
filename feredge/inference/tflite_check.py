"""Checks the structure of a `.tflite` model before LiteRT loads it: LiteRT itself trusts every offset and index."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError
from feredge.inference.flatbuffer_reader import FlatbufferReader, Table
from feredge.inference.tflite_schema import (
    DATA_MOVEMENT_OPERATORS,
    OPERATOR_RULES,
    POSITIVE_OPTIONS,
    RESCALING_OPERATORS,
    TFLITE_SCHEMA,
    OperatorRule,
)

TYPE_BYTES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 9: 1, 10: 8}
"""Bytes per element, by TensorType number: float32, float16, int32, uint8, int64, bool, int16, int8, float64."""
ZERO_POINT_RANGES = {
    2: (-(2**31), 2**31 - 1),
    3: (0, 255),
    4: (-(2**63), 2**63 - 1),
    7: (-(2**15), 2**15 - 1),
    9: (-128, 127),
}
"""Minimum and maximum zero point, by the TensorType numbers that may be quantized."""
RANK_LIMIT = 6  # kernels copy shapes into fixed arrays of this size without a check
TENSOR_BYTES_LIMIT = 1 << 31  # LiteRT uses 32-bit sizes in places
OPTION_LIMIT = 1 << 16  # strides, dilations and filter sizes: their products must fit into 32 bits
SCALE_RANGE = (1e-20, 1e20)
"""Minimum and maximum scale of a quantized tensor."""
SCALE_RATIO_LIMIT = 1 << 14
"""Input scale over output scale, for RESCALING_OPERATORS: int16 kernels abort the process from here on."""
MIN_SOFTMAX_BETA = 1e-3  # integer kernels abort the process near 0
NARROW_INTEGER_TYPES = (3, 7, 9)  # uint8, int16, int8


def check_tflite(model: bytes) -> None:
    """Check the flatbuffer of a TensorFlow Lite model: one graph of known operators, no data outside the file.

    Args:
        model: the file's bytes; data appended after the flatbuffer is ignored.

    Raises:
        ArtifactError: an invalid or refused offset, size, index, name, operator or quantization. The text does
            not name the file.
    """
    reader = FlatbufferReader(model, TFLITE_SCHEMA)
    root = reader.root("Model", b"TFL3")
    graphs, buffers = root.get("subgraphs", []), root.get("buffers", [])
    if root.get("version") != 3 or len(graphs) != 1:
        raise ArtifactError(f"expected one graph of schema 3, found {len(graphs)} of schema {root.get('version')}")
    graph = graphs[0]
    tensors = graph.get("tensors", [])
    for index, tensor in enumerate(tensors):
        _check_tensor(tensor, buffers, f"tensor {index}")
    rules = [_rule(code) for code in root.get("operator_codes", [])]
    for name in ("inputs", "outputs"):
        _check_indices(graph.get(name, ()), len(tensors), f"the graph's {name}")
        if not len(graph.get(name, ())):
            raise ArtifactError(f"expected a graph with {name}, found none")
    _check_operators(reader, graph, buffers, rules)
    _check_indices(root.get("metadata_buffer", ()), len(buffers), "a list of metadata")
    for item in root.get("metadata", []):
        if "name" not in item or item.get("buffer", 0) >= len(buffers):
            raise ArtifactError("expected metadata with a name and a buffer, found one without")
    for signature in root.get("signature_defs", []):
        _check_signature(signature, len(tensors))


def _check_tensor(tensor: Table, buffers: list[Table], name: str) -> None:
    shape: NDArray[np.int32] = tensor.get("shape", np.empty(0, np.int32))
    kind, index = tensor.get("type", 0), tensor.get("buffer", 0)
    if kind not in TYPE_BYTES or tensor.get("is_variable"):
        raise ArtifactError(f"{name}: expected a constant or computed tensor of numbers, found type {kind}")
    if len(shape) > RANK_LIMIT or (shape < 1).any():
        raise ArtifactError(f"{name}: expected up to {RANK_LIMIT} axes from 1 up, found {shape.tolist()!s:.60}")
    signature: NDArray[np.int32] = tensor.get("shape_signature", shape)
    if len(signature) != len(shape) or not ((signature == shape) | (signature == -1)).all():
        raise ArtifactError(f"{name}: expected a signature of the shape {shape.tolist()}, found {signature.tolist()}")
    size = math.prod(shape.tolist()) * TYPE_BYTES[kind]
    if size >= TENSOR_BYTES_LIMIT:
        raise ArtifactError(f"{name}: expected less than {TENSOR_BYTES_LIMIT:,} bytes, found {size:,}")
    if index >= len(buffers):
        raise ArtifactError(f"{name}: expected a buffer index below {len(buffers)}, found {index}")
    stored = len(buffers[index].get("data", ()))
    if stored and stored != size:
        raise ArtifactError(f"{name}: expected {size:,} bytes, found {stored:,}")
    if "quantization" in tensor:
        _check_quantization(tensor["quantization"], shape, kind, name)


def _check_quantization(quantization: Table, shape: Any, kind: int, name: str) -> None:
    scales, zeros = quantization.get("scale", ()), quantization.get("zero_point", ())
    axis = quantization.get("quantized_dimension", 0)
    if quantization.get("details_type"):
        raise ArtifactError(f"{name}: expected scales and zero points, found a custom quantization")
    if not len(scales) and not len(zeros):
        return
    if kind not in ZERO_POINT_RANGES:
        raise ArtifactError(f"{name}: expected a quantized tensor of integers, found type {kind}")
    if not 0 <= axis < max(len(shape), 1) or len(scales) not in (1, *shape[axis : axis + 1].tolist()):
        raise ArtifactError(f"{name}: expected one scale, or one per channel, found {len(scales)} along axis {axis}")
    if len(zeros) != len(scales):
        raise ArtifactError(f"{name}: expected {len(scales)} zero points, found {len(zeros)}")
    low, high = ZERO_POINT_RANGES[kind]
    if (
        not ((scales >= SCALE_RANGE[0]) & (scales <= SCALE_RANGE[1])).all()
        or not ((zeros >= low) & (zeros <= high)).all()
    ):
        raise ArtifactError(f"{name}: expected scales and zero points within their range, found others")


def _rule(code: Table) -> OperatorRule:
    number = max(code.get("deprecated_builtin_code", 0), code.get("builtin_code", 0))
    if number not in OPERATOR_RULES:
        raise ArtifactError(f"expected a supported operator, found number {number} of TensorFlow Lite's")
    return OPERATOR_RULES[number]


def _check_operators(reader: FlatbufferReader, graph: Table, buffers: list[Table], rules: list[OperatorRule]) -> None:
    """Check each operator, and that operators are in topological order and write each tensor once."""
    tensors = graph.get("tensors", [])
    available = {index for index, tensor in enumerate(tensors) if len(buffers[tensor.get("buffer", 0)].get("data", ()))}
    if available.intersection(map(int, graph["inputs"])):
        raise ArtifactError("expected inputs without values, found a constant among them")
    available.update(map(int, graph["inputs"]))
    for number, operator in enumerate(graph.get("operators", [])):
        if operator.get("opcode_index", 0) >= len(rules):
            raise ArtifactError(f"operator {number}: expected an operator code below {len(rules)}, found another")
        rule = rules[operator.get("opcode_index", 0)]
        name = f"operator {number} {rule.name}"
        inputs, outputs = _operands(operator, rule, len(tensors), name)
        if not available.issuperset(inputs.values()) or available.intersection(outputs):
            raise ArtifactError(f"{name}: expected operators in topological order, found another")
        available.update(outputs)
        per_tensor = [index for position, index in inputs.items() if position not in rule.per_channel]
        _check_scales(
            rule, [tensors[at] for at in inputs.values()], [tensors[at] for at in (*per_tensor, *outputs)], name
        )
        source_and_target = tensors[inputs[0]], tensors[outputs[0]]
        if rule.name == "DEQUANTIZE" and not np.array_equal(*(tensor.get("shape", ()) for tensor in source_and_target)):
            raise ArtifactError(f"{name}: expected an output of its input's shape, found another")
        _check_options(reader, operator, rule, name)


def _check_scales(rule: OperatorRule, inputs: list[Table], per_tensor: list[Table], name: str) -> None:
    """Check that tensors have the scales that kernels divide by; `per_tensor` ones, the output last, at most one."""
    if any(len(_scale(tensor)) > 1 for tensor in per_tensor):
        raise ArtifactError(f"{name}: expected a per-tensor scale, found per-channel scales")
    if rule.name in DATA_MOVEMENT_OPERATORS:
        return
    quantized = [tensor for tensor in (*inputs, *per_tensor) if tensor.get("type", 0) in NARROW_INTEGER_TYPES]
    if not all(len(_scale(tensor)) for tensor in quantized):
        raise ArtifactError(f"{name}: expected integers with a scale, found some without")
    if rule.name in RESCALING_OPERATORS and quantized:
        scales = [float(_scale(tensor)[0]) for tensor in quantized]
        if max(scales) >= SCALE_RATIO_LIMIT * scales[-1]:
            raise ArtifactError(f"{name}: expected scales near each other, found {max(scales):g} and {scales[-1]:g}")


def _scale(tensor: Table) -> Any:
    return tensor.get("quantization", {}).get("scale", ())


def _operands(operator: Table, rule: OperatorRule, count: int, name: str) -> tuple[dict[int, int], list[int]]:
    """Return an operator's input tensors, by input position, and its output tensors."""
    inputs, outputs = operator.get("inputs", ()), operator.get("outputs", ())
    for indices, (least, most), role in ((inputs, rule.inputs, "inputs"), (outputs, rule.outputs, "outputs")):
        if not least <= len(indices) <= most:
            raise ArtifactError(f"{name}: expected {least} to {most} {role}, found {len(indices)}")
    present = {position: int(index) for position, index in enumerate(inputs) if index != -1 or position < rule.optional}
    _check_indices([*present.values(), *outputs], count, name)
    if len(operator.get("intermediates", ())) or operator.get("mutating_variable_inputs", np.zeros(0)).any():
        raise ArtifactError(f"{name}: expected no state, found some")
    return present, [int(index) for index in outputs]


def _check_options(reader: FlatbufferReader, operator: Table, rule: OperatorRule, name: str) -> None:
    kind = operator.get("options_type", 0)
    if kind not in (rule.options_type, 0) or ("options" in operator) != bool(kind):
        raise ArtifactError(f"{name}: expected its own options, found those of type {kind}")
    options = reader.table(rule.options, operator["options"]) if kind else {}  # absent fields are 0 for LiteRT
    if not all(abs(options.get(field, 0)) < OPTION_LIMIT for field, kind in TFLITE_SCHEMA[rule.options] if kind == "f"):
        raise ArtifactError(f"{name}: expected options in finite numbers, found others")
    if rule.name == "SOFTMAX" and not options.get("beta", 0) > MIN_SOFTMAX_BETA:
        raise ArtifactError(f"{name}: expected a beta over {MIN_SOFTMAX_BETA}, found {options.get('beta', 0)}")
    for field, _ in TFLITE_SCHEMA[rule.options]:
        if field in POSITIVE_OPTIONS:
            value = options.get(field, 1 if field.startswith("dilation") else 0)
            if not 1 <= value < OPTION_LIMIT:
                raise ArtifactError(f"{name}: expected {field} from 1 up, found {value}")


def _check_signature(signature: Table, count: int) -> None:
    if "signature_key" not in signature or signature.get("subgraph_index", 0):
        raise ArtifactError("expected signatures of subgraph 0, found another")
    for item in (*signature.get("inputs", []), *signature.get("outputs", [])):
        if "name" not in item or item.get("tensor_index", 0) >= count:
            raise ArtifactError("expected a signature of named tensors, found another")


def _check_indices(indices: Any, count: int, name: str) -> None:
    for index in indices:
        if not 0 <= index < count:
            raise ArtifactError(f"{name}: expected tensor indices below {count}, found {int(index)}")
