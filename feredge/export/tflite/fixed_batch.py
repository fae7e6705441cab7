"""A fixed batch of one in a TensorFlow Lite file, which every runtime accepts, and which can still be resized.

The converter writes a dynamic batch as -1 into every tensor's shape signature. LiteRT.js refuses such a file, and
XNNPACK does not run reshapes to a computed shape. Without the signature, `resize_tensor_input(index, shape,
strict=False)` still works, because each operator computes its output's shape from its inputs' shapes, as long as no
constant holds the batch size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from feredge.errors import ArtifactError, VerificationError
from feredge.inspection import flatbuffer

DYNAMIC_SIZE = -1
"""In a reshape's constant: inferred from the input's size and the other axes."""


def with_fixed_batch(model: bytes) -> bytes:
    """Return a flatbuffer with a batch of one in all tensors, and reshapes that fit any batch.

    Raises:
        ArtifactError: an input of another batch, or of dynamic height, width or channels.
    """
    parsed = flatbuffer.parse(model)
    graph = parsed.subgraphs[0]
    for index in graph.inputs:
        shape, signature = _dimensions(graph.tensors[index].shape), _dimensions(graph.tensors[index].shapeSignature)
        if shape[0] != 1 or DYNAMIC_SIZE in signature[1:]:
            raise ArtifactError(f"expected an input of batch 1 and fixed size, found {signature or shape}")
    _infer_batch_in_reshapes(parsed)
    for tensor in graph.tensors:
        tensor.shapeSignature = None
    return flatbuffer.pack(parsed)


def check_fixed_batch(model: bytes, name: str) -> None:
    """Raise VerificationError unless every tensor of a flatbuffer has a fixed shape, and its input a batch of one."""
    graph = flatbuffer.parse(model).subgraphs[0]
    for tensor in graph.tensors:
        if DYNAMIC_SIZE in _dimensions(tensor.shapeSignature):
            raise VerificationError(f"{name}: expected fixed shapes, found {_dimensions(tensor.shapeSignature)}")
    for index in graph.inputs:
        shape = _dimensions(graph.tensors[index].shape)
        if shape[0] != 1:
            raise VerificationError(f"{name}: expected an input of batch 1, found {shape}")


def _dimensions(shape: Any) -> list[int]:
    return [] if shape is None else [int(size) for size in shape]


def _infer_batch_in_reshapes(model: Any) -> None:
    """Replace the shape of each RESHAPE by a constant with -1 for the batch, also where it was computed."""
    graph = model.subgraphs[0]
    names = flatbuffer.operator_names(model)
    producers = {
        int(index): (name, operator)
        for name, operator in zip(names, graph.operators, strict=True)
        for index in operator.outputs
    }
    for name, operator in zip(names, graph.operators, strict=True):
        if name != "RESHAPE" or len(operator.inputs) < 2:
            continue
        index = int(operator.inputs[1])
        if index not in producers:
            shape = flatbuffer.constant(model, index)
            if shape[0] == 1 and DYNAMIC_SIZE not in shape and graph.tensors[operator.inputs[0]].shape[0] == 1:
                operator.inputs = [operator.inputs[0], _add_shape(model, [DYNAMIC_SIZE, *shape[1:]])]
        elif producers[index][0] == "PACK":
            sizes = _constant_sizes(model, producers[index][1], producers)
            if sizes is not None:
                operator.inputs = [operator.inputs[0], _add_shape(model, [DYNAMIC_SIZE, *sizes])]
    _remove_unread_operators(graph)


def _constant_sizes(model: Any, pack: Any, producers: dict[int, Any]) -> list[int] | None:
    """Return the inputs of PACK after the first; None unless the first is computed and the others are constants."""
    first, *rest = map(int, pack.inputs)
    if first not in producers or any(index in producers for index in rest):
        return None
    sizes = [flatbuffer.constant(model, index).item() for index in rest]
    return None if DYNAMIC_SIZE in sizes else sizes


def _add_shape(model: Any, shape: list[int]) -> int:
    """Add a constant int32 vector. Return its tensor's index."""
    from ai_edge_litert import schema_py_generated as schema

    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(np.array(shape, np.int32).tobytes(), np.uint8)
    tensor.shape, tensor.type = [len(shape)], schema.TensorType.INT32
    tensors = model.subgraphs[0].tensors
    tensor.buffer, tensor.name = len(model.buffers), f"shape_{len(tensors)}"
    model.buffers.append(buffer)
    tensors.append(tensor)
    return len(tensors) - 1


def _remove_unread_operators(graph: Any) -> None:
    """Remove operators with unread outputs, the last first: they computed shapes."""
    for operator in [*reversed(graph.operators)]:
        read = {*map(int, graph.outputs)} | {int(index) for reader in graph.operators for index in reader.inputs}
        if read.isdisjoint(map(int, operator.outputs)):
            graph.operators.remove(operator)
