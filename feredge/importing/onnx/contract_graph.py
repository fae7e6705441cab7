"""An ONNX network's own graph behind the contract of a core: pixels in [0, 1] to class probabilities.

It is for networks with operators that no Keras layer computes, which stay in ONNX.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError
from feredge.importing.comparison import PixelValue
from feredge.importing.onnx.file import is_channels_first
from feredge.importing.probabilities import SUM_TOLERANCE

PIXELS, SCALED, PROBABILITIES = "pixels", "input_scale", "probabilities"
OLDEST_OPSET, CONVERTED_OPSET = 13, 17
"""Quantization per channel needs the first; older graphs are converted to the second, that of `feredge export`."""


def as_core_graph(
    model: Any, rows: NDArray[np.float32], *, channels: int, low: PixelValue, high: PixelValue
) -> tuple[Any, NDArray[np.float32]]:
    """Return the graph of a core, and the probabilities that it must compute.

    Args:
        model: a simplified ONNX `ModelProto` with a batch of one, see `file.simplify`; it is changed.
        rows: the file's own outputs for images, `float32 (N, outputs)`.
        channels: of the images: 1 or those of the network.
        low: input value of a black pixel, of all channels or of each.
        high: likewise of a white pixel.

    Returns:
        The model, `pixels` float32 (N, H, W, channels) to probabilities, its nodes named `LAYER/OPERATOR`; and `rows`
        as probabilities.

    Raises:
        ArtifactError: an input in float16 or uint8, a single output, or a sigmoid for each class.
    """
    from onnx import TensorProto, helper

    graph = model.graph
    _rename(graph)
    (source,) = graph.input
    if source.type.tensor_type.elem_type != TensorProto.FLOAT:
        raise ArtifactError("expected a float32 input of a network that stays in ONNX, found another")
    shape = [dim.dim_value for dim in source.type.tensor_type.shape.dim]
    channels_first = is_channels_first(shape)
    height, width = shape[2:] if channels_first else shape[1:3]
    _free_batch(graph, shape[0])
    taken = shape[1] if channels_first else shape[3]
    _prepend_scaling(graph, source.name, channels_first, *_pixel_map(low, high, channels, taken))
    del graph.input[:], graph.value_info[:]
    graph.input.append(helper.make_tensor_value_info(PIXELS, TensorProto.FLOAT, ["batch", height, width, channels]))
    probabilities = _append_softmax(graph, rows)
    output = helper.make_tensor_value_info(graph.output[0].name, TensorProto.FLOAT, ["batch", rows.shape[1]])
    del graph.output[:]
    graph.output.append(output)
    return _with_opset(model), probabilities


def _rename(graph: Any) -> None:
    """Name nodes `LAYER/OPERATOR`, and tensors otherwise than those that are added to every file."""

    def renamed(name: str) -> str:
        return f"net/{name}" if name else name  # an absent input has no name

    for index, node in enumerate(graph.node):
        name = re.sub(r"[^A-Za-z0-9]+", "_", node.name).strip("_") or "node"
        node.name = f"{name}_{index}/{node.op_type}"
        node.input[:], node.output[:] = map(renamed, node.input), map(renamed, node.output)
    for tensor in (*graph.initializer, *graph.input, *graph.output):
        tensor.name = renamed(tensor.name)


def _pixel_map(
    low: PixelValue, high: PixelValue, channels: int, taken: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return kernel and bias of the 1x1 convolution from pixels in [0, 1] to the network's input."""
    black, white = (np.broadcast_to(np.asarray(value, np.float64), taken) for value in (low, high))
    matrix = (np.ones((1, taken)) if channels == 1 else np.eye(taken)) * (white - black)
    return matrix.T[:, :, None, None].astype(np.float32), np.array(black, np.float32)


def _prepend_scaling(
    graph: Any, target: str, channels_first: bool, kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> None:
    """Compute the tensor `target`, which was the input, from the pixels."""
    from onnx import helper, numpy_helper

    graph.initializer.extend(
        [numpy_helper.from_array(kernel, f"{SCALED}/kernel"), numpy_helper.from_array(bias, f"{SCALED}/bias")]
    )
    scaled = target if channels_first else f"{SCALED}/nchw"
    nodes = [
        helper.make_node("Transpose", [PIXELS], [f"{PIXELS}/nchw"], f"{PIXELS}/Transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", [f"{PIXELS}/nchw", f"{SCALED}/kernel", f"{SCALED}/bias"], [scaled], f"{SCALED}/Conv"),
    ]
    if not channels_first:
        nodes.append(helper.make_node("Transpose", [scaled], [target], f"{SCALED}/Transpose", perm=[0, 2, 3, 1]))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def _free_batch(graph: Any, batch: int) -> None:
    """Let the constant shapes of a graph hold for any batch: that of each Reshape begins with it."""
    from onnx import numpy_helper

    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for tensor in graph.initializer:
        if tensor.name in shapes and tensor.dims and (shape := numpy_helper.to_array(tensor).copy())[0] == batch:
            shape[0] = 0 if -1 in shape[1:] else -1
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))


def _append_softmax(graph: Any, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Append a softmax to a graph whose outputs are logits, and return its outputs as probabilities."""
    from onnx import helper

    output = graph.output[0].name
    last = next(node for node in graph.node if output in node.output)
    if rows.shape[1] == 1 or last.op_type == "Sigmoid":
        raise ArtifactError(
            "expected one probability distribution over the classes of a network that stays in ONNX, "
            f"found {rows.shape[1]} output(s) after {last.op_type}"
        )
    if rows.min() >= 0 and float(np.abs(rows.sum(axis=1) - 1).max()) < SUM_TOLERANCE:
        if last.op_type != "LogSoftmax":
            return rows
        last.op_type = "Softmax"
        return rows
    graph.node.append(helper.make_node("Softmax", [output], [PROBABILITIES], f"{PROBABILITIES}/Softmax", axis=1))
    graph.output[0].name = PROBABILITIES
    exponentials = np.exp(rows - rows.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def _with_opset(model: Any) -> Any:
    from onnx import version_converter

    opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    return version_converter.convert_version(model, CONVERTED_OPSET) if opset < OLDEST_OPSET else model
