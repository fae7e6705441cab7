"""Mirror averaging in a TensorFlow Lite file: one image in, the network runs it and its mirror image as a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.inference.tflite import litert_interpreter
from feredge.inspection import flatbuffer
from feredge.recipes.variant import VIEWS

BATCH_AXIS, WIDTH_AXIS = 0, 2


def with_mirror_averaging(model: bytes) -> bytes:
    """Return a flatbuffer that averages a network's probabilities over each image and its mirror image.

    The graph's input is gathered with its columns reversed, joined to the batch, and the outputs of both halves are
    averaged. Weights and ranges are those of `model`.

    Args:
        model: with a fixed batch of one, of which no constant holds the batch size.
    """
    parsed = flatbuffer.parse(model)
    graph = parsed.subgraphs[0]
    image, result = int(graph.inputs[0]), int(graph.outputs[0])
    height, width, channels = (int(side) for side in graph.tensors[image].shape[1:])
    classes = int(graph.tensors[result].shape[1])
    pixels = _tensor_like(parsed, image, "image", [1, height, width, channels])
    mirrored = _tensor_like(parsed, image, "mirror_image", [1, height, width, channels])
    halves = _tensor_like(parsed, result, "both_views", [VIEWS, 1, classes])
    mean = _tensor_like(parsed, result, "mean_of_views", [1, classes])
    columns = _constant(parsed, "reversed_columns", np.arange(width - 1, -1, -1, dtype=np.int32))
    halves_shape = _constant(parsed, "both_views_shape", np.array([VIEWS, -1, classes], np.int32))
    axis = _constant(parsed, "views_axis", np.array([BATCH_AXIS], np.int32))
    graph.operators = [
        _operator(parsed, "GATHER", [pixels, columns], mirrored, axis=WIDTH_AXIS),
        _operator(parsed, "CONCATENATION", [pixels, mirrored], image, axis=BATCH_AXIS),
        *graph.operators,
        _operator(parsed, "RESHAPE", [result, halves_shape], halves),
        _operator(parsed, "MEAN", [halves, axis], mean, keepDims=False),
    ]
    graph.tensors[image].shape = [VIEWS, height, width, channels]
    graph.inputs, graph.outputs = [pixels], [mean]
    for signature in parsed.signatureDefs or ():
        for tensor in (*signature.inputs, *signature.outputs):
            tensor.tensorIndex = {image: pixels, result: mean}[int(tensor.tensorIndex)]
    return _with_inferred_shapes(parsed)


def _tensor_like(model: Any, index: int, name: str, shape: list[int]) -> int:
    """Add a tensor of the type and quantization of another, and return its index."""
    from ai_edge_litert import schema_py_generated as schema

    source, tensor = model.subgraphs[0].tensors[index], schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name.encode(), shape, source.type
    tensor.quantization = source.quantization
    return _add_tensor(model, tensor)


def _constant(model: Any, name: str, values: NDArray[np.int32]) -> int:
    """Add an int32 vector, and return its index."""
    from ai_edge_litert import schema_py_generated as schema

    tensor, buffer = schema.TensorT(), schema.BufferT()
    tensor.name, tensor.shape, tensor.type = name.encode(), list(values.shape), schema.TensorType.INT32
    tensor.buffer, buffer.data = len(model.buffers), np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    return _add_tensor(model, tensor)


def _add_tensor(model: Any, tensor: Any) -> int:
    tensors = model.subgraphs[0].tensors
    tensors.append(tensor)
    return len(tensors) - 1


def _operator(model: Any, name: str, inputs: list[int], output: int, **options: Any) -> Any:
    """Return an operator of version 1."""
    from ai_edge_litert import schema_py_generated as schema

    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = 1
    model.operatorCodes.append(code)
    operator.opcodeIndex, operator.inputs, operator.outputs = len(model.operatorCodes) - 1, inputs, [output]
    kind = {"MEAN": "Reducer"}.get(name, name.capitalize()) + "Options"
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    operator.builtinOptions = getattr(schema, f"{kind}T")()
    for key, value in options.items():
        setattr(operator.builtinOptions, key, value)
    return operator


def _with_inferred_shapes(model: Any) -> bytes:
    """Return the flatbuffer with every tensor's shape as LiteRT infers it: the batch of a file's tensors doubles."""
    graph = model.subgraphs[0]
    interpreter = litert_interpreter(flatbuffer.pack(model), xnnpack=False)
    interpreter.allocate_tensors()
    computed = {int(index) for operator in graph.operators for index in operator.outputs}
    for detail in interpreter.get_tensor_details():
        if detail["index"] in computed:
            graph.tensors[detail["index"]].shape = [int(side) for side in detail["shape"]]
    return flatbuffer.pack(model)
