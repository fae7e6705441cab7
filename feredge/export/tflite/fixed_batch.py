"""A batch of one in a TensorFlow Lite file, which every runtime accepts, and which resizes to any other.

The converter writes a free batch as -1 into every tensor's shape signature. LiteRT.js refuses such a file, and XNNPACK
leaves every reshape to a shape that is computed from it to slower kernels. With the signature gone,
`resize_tensor_input(index, shape, strict=False)` still works, because each operator computes its output's shape from
its inputs', as long as no constant holds the batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from feredge.errors import ArtifactError, VerificationError
from feredge.inspection import flatbuffer

FREE = -1
"""In a reshape's constant: whatever the other axes leave."""


def with_fixed_batch(model: bytes) -> bytes:
    """Return a flatbuffer whose tensors state a batch of one, and whose reshapes fit any.

    Raises:
        ArtifactError: an input of another batch, or of a size that is free.
    """
    parsed = flatbuffer.parse(model)
    graph = parsed.subgraphs[0]
    for index in graph.inputs:
        shape, signature = _dimensions(graph.tensors[index].shape), _dimensions(graph.tensors[index].shapeSignature)
        if shape[0] != 1 or FREE in signature[1:]:
            raise ArtifactError(f"expected an input of batch 1 and fixed size, found {signature or shape}")
    _free_reshapes(parsed)
    for tensor in graph.tensors:
        tensor.shapeSignature = None
    return flatbuffer.pack(parsed)


def check_fixed_batch(model: bytes, name: str) -> None:
    """Raise VerificationError unless every tensor of a flatbuffer has a fixed shape, and its input a batch of one."""
    graph = flatbuffer.parse(model).subgraphs[0]
    for tensor in graph.tensors:
        if FREE in _dimensions(tensor.shapeSignature):
            raise VerificationError(f"{name}: expected fixed shapes, found {_dimensions(tensor.shapeSignature)}")
    for index in graph.inputs:
        shape = _dimensions(graph.tensors[index].shape)
        if shape[0] != 1:
            raise VerificationError(f"{name}: expected an input of batch 1, found {shape}")


def _dimensions(shape: Any) -> list[int]:
    return [] if shape is None else [int(size) for size in shape]


def _free_reshapes(model: Any) -> None:
    """Let each reshape take its batch from its input: a constant -1 in place of a 1, or of a computed shape."""
    graph = model.subgraphs[0]
    kinds = flatbuffer.operator_names(model)
    made_by = {
        int(index): (kind, operator)
        for kind, operator in zip(kinds, graph.operators, strict=True)
        for index in operator.outputs
    }
    for kind, operator in zip(kinds, graph.operators, strict=True):
        if kind != "RESHAPE" or len(operator.inputs) < 2:
            continue
        index = int(operator.inputs[1])
        if index not in made_by:
            shape = flatbuffer.constant(model, index)
            if shape[0] == 1 and FREE not in shape and graph.tensors[operator.inputs[0]].shape[0] == 1:
                operator.inputs = [operator.inputs[0], _add_shape(model, [FREE, *shape[1:]])]
        elif made_by[index][0] == "PACK" and (rest := _constants(model, made_by[index][1], made_by)) is not None:
            operator.inputs = [operator.inputs[0], _add_shape(model, [FREE, *rest])]
    _remove_unused(graph)


def _constants(model: Any, pack: Any, made_by: dict[int, Any]) -> list[int] | None:
    """Return all but the first of the numbers that PACK joins; None unless the first is computed and no other is."""
    first, *rest = map(int, pack.inputs)
    if first not in made_by or any(index in made_by for index in rest):
        return None
    values = [flatbuffer.constant(model, index).item() for index in rest]
    return None if FREE in values else values


def _add_shape(model: Any, shape: list[int]) -> int:
    """Return the index of a new constant."""
    from ai_edge_litert import schema_py_generated as schema

    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(np.array(shape, np.int32).tobytes(), np.uint8)
    tensor.shape, tensor.type = [len(shape)], schema.TensorType.INT32
    tensors = model.subgraphs[0].tensors
    tensor.buffer, tensor.name = len(model.buffers), f"shape_{len(tensors)}"
    model.buffers.append(buffer)
    tensors.append(tensor)
    return len(tensors) - 1


def _remove_unused(graph: Any) -> None:
    """Remove operators whose outputs nothing reads, the last first: they computed shapes."""
    for operator in [*reversed(graph.operators)]:
        read = {*map(int, graph.outputs)} | {int(index) for other in graph.operators for index in other.inputs}
        if read.isdisjoint(map(int, operator.outputs)):
            graph.operators.remove(operator)
