"""A network to ONNX, by tf2onnx, and from float to int8 by onnxruntime's quantizer."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from feredge.artifact import CARD_KEY, Card
from feredge.contract import Images
from feredge.errors import ArtifactError

# onnxruntime reports to its maker by default, and only this, before its first import, prevents it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

PIXELS, IMAGE = "pixels", "image"  # the core's input, float32 in [0, 1]; the file's input, uint8
WEIGHTED = ("Conv", "Gemm", "MatMul")
LAYOUT = ("Reshape", "Transpose")  # may stand between the input and the first layer: tf2onnx goes from NHWC to NCHW
CALIBRATION_BATCH = 32


def core_graph(core: Any, *, opset: int) -> Any:
    """Return a core as an ONNX model: `pixels` float32 NHWC in [0, 1], any batch, to probabilities.

    tf2onnx numbers the names it invents from a counter of the process; here they are numbered afresh, so that
    the same core gives the same bytes whatever was converted before.
    """
    import tf2onnx

    from feredge.keras import tf

    signature = [tf.TensorSpec(core.input_shape, tf.float32, name=PIXELS)]
    model, _ = tf2onnx.convert.from_keras(core, input_signature=signature, opset=opset)
    _number_names(model.graph)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for domain in [domain for domain in model.opset_import if domain.domain]:
        model.opset_import.remove(domain)
    model.graph.name, model.graph.doc_string = "feredge", ""
    return model


def at_precision(core: Any, precision: str, *, calibration: Images) -> Any:
    """Return a `core_graph` in the input contract, its numbers stored as `precision`.

    `dynamic-int8` stores int8 kernels, one scale a channel, and multiplies them out when the file is loaded:
    a quarter of the size, at the speed and nearly the outputs of float32. onnxruntime's own `quantize_dynamic`
    is not used: it writes ConvInteger, which took four times float32's time here, and takes the ranges of
    activations from the whole batch, so that an image's answer depends on its neighbours.

    Args:
        core: what `core_graph` returned; it is left as it is.
        precision: `float32`, `dynamic-int8` or `int8`.
        calibration: `uint8 (N, H, W, C)`, which must hold the values 0 and 255; read for `int8` only.
    """
    model = onnx.ModelProto()
    model.CopyFrom(core)
    if precision == "int8":
        return _take_pixels_as_integers(_static(model, calibration))
    if precision == "dynamic-int8":
        _store_kernels_as_integers(model)
    return _scale_pixels(model)


def with_card(model: Any, card: Card) -> bytes:
    """Return the bytes of `model` with `card` in its metadata, and nothing else there."""
    import json

    del model.metadata_props[:]
    helper.set_model_props(model, {CARD_KEY: json.dumps(card.to_json(), sort_keys=True)})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _number_names(graph: Any) -> None:
    """Number the `name__17` of tf2onnx in order of appearance."""
    numbers: dict[str, int] = {}

    def renamed(name: str) -> str:
        return re.sub(r"__\d+", lambda match: f"__{numbers.setdefault(match[0], len(numbers) + 1)}", name)

    for node in graph.node:
        node.name = renamed(node.name)
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
    for value in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        value.name = renamed(value.name)


def _scale_pixels(model: Any) -> Any:
    """Put `pixels = float32(image) * (1/255)` in front, as the float network has it."""
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.float32(1 / 255), "scale"))
    _put_first(
        graph,
        helper.make_node("Cast", [IMAGE], ["image_float"], "to_float", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["image_float", "scale"], [PIXELS], "to_unit_range"),
    )
    _input_is_image(graph)
    return model


def _take_pixels_as_integers(model: Any) -> Any:
    """Let the raw image take the place of what the first QuantizeLinear gives: at 1/255 and 0 they are the same."""
    graph = model.graph
    node = consumer(graph, PIXELS)
    first = node
    while node.op_type in LAYOUT:  # these move pixels and change no value, so they work on uint8 as well
        node = consumer(graph, node.output[0])
    if node.op_type != "QuantizeLinear" or quantization(graph, node) != (np.float32(1 / 255), 0):
        raise ArtifactError(f"expected the quantizer to scale pixels by 1/255, found {node.op_type} {node.name}")
    (dequantize,) = [other for other in graph.node if node.output[0] in other.input]
    dequantize.input[0] = node.input[0]
    graph.node.remove(node)
    first_input = first if first is not node else dequantize
    first_input.input[0] = IMAGE
    _input_is_image(graph)
    del graph.value_info[:]  # they speak of float pixels
    return model


def _input_is_image(graph: Any) -> None:
    graph.input[0].name = IMAGE
    graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def consumer(graph: Any, name: str) -> Any:
    """Return the one node that takes tensor `name`; ArtifactError where there are none or several."""
    found = [node for node in graph.node if name in node.input]
    if len(found) != 1:
        raise ArtifactError(f"expected one operation on {name!r}, found {len(found)}")
    return found[0]


def quantization(graph: Any, node: Any) -> tuple[np.float32, int] | None:
    """Return scale and zero point of a QuantizeLinear or DequantizeLinear node, None where they are no scalars."""
    known = {tensor.name: tensor for tensor in graph.initializer}
    scale, zero_point = (numpy_helper.to_array(known[name]) for name in node.input[1:3])
    return (np.float32(scale), int(zero_point)) if scale.size == zero_point.size == 1 else None


def _static(model: Any, calibration: Images) -> Any:
    """Quantize weights per channel to int8 and activations to uint8, as QDQ; the softmax stays in float."""
    from onnxruntime.quantization import QuantFormat, QuantType, quant_pre_process, quantize_static

    with tempfile.TemporaryDirectory() as folder:
        given, prepared, written = (Path(folder, f"{step}.onnx") for step in ("float32", "prepared", "int8"))
        onnx.save(model, given)
        # Its symbolic shape inference would need sympy and finds nothing more in networks of fixed shape.
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        softmax = [node.name for node in onnx.load(prepared).graph.node if node.op_type == "Softmax"]
        quantize_static(
            prepared,
            written,
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=softmax,  # its outputs are the probabilities: 256 steps would tie classes
        )
        return onnx.load(written)


class _Reader:
    """Calibration images as onnxruntime asks for them."""

    def __init__(self, images: Images) -> None:
        cuts = range(CALIBRATION_BATCH, len(images), CALIBRATION_BATCH)
        self._batches: Iterator[Images] = iter(np.split(images, list(cuts)))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {PIXELS: batch.astype(np.float32) / np.float32(255)}


def _store_kernels_as_integers(model: Any) -> None:
    """Replace each kernel by int8 values times a scale a channel, as Cast and Mul.

    onnxruntime folds constants, so the product is taken once, at loading. It does not fold DequantizeLinear,
    which would be worked out again with each image and cost two thirds of the time on top.
    """
    graph = model.graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type not in WEIGHTED or node.input[1] not in known:
            continue
        name = node.input[1]
        kernel = numpy_helper.to_array(known[name])
        axis = 0 if node.op_type == "Conv" else kernel.ndim - 1
        values, scale = _symmetric(kernel, axis)
        graph.initializer.remove(known.pop(name))
        graph.initializer.append(numpy_helper.from_array(values, f"{name}_int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        nodes += [
            helper.make_node("Cast", [f"{name}_int8"], [f"{name}_cast"], f"{name}_to_float", to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name], f"{name}_scaled"),
        ]
    _put_first(graph, *nodes)


def _symmetric(kernel: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 values in -127..127 and scales, of one size along `axis`, whose product is nearest to `kernel`."""
    others = tuple(i for i in range(kernel.ndim) if i != axis)
    scale = np.abs(kernel).max(axis=others, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    return np.rint(kernel / scale).astype(np.int8), scale.astype(np.float32)


def _put_first(graph: Any, *nodes: Any) -> None:
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
