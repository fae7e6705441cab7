"""A network to ONNX, by tf2onnx, and from float to int8 by onnxruntime's quantizer."""

from __future__ import annotations

import os
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
from feredge.export.contents import LAYOUT, ONNX_WEIGHTED, SMALL_KERNEL, consumer, scale_and_zero

# onnxruntime reports to its maker by default, and only this, before its first import, prevents it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

PIXELS, IMAGE = "pixels", "image"  # the core's input, float32 in [0, 1]; the file's input, uint8
CALIBRATION_BATCH = 32


def core_graph(core: Any, *, opset: int) -> Any:
    """Return a core as an ONNX model: `pixels` float32 NHWC in [0, 1], any batch, to probabilities.

    Nodes and tensors are named after their layers. tf2onnx's own names hold numbers from a counter of the process,
    and repeat the network's path in each: in a small int8 file they took a fifth of the bytes.
    """
    import tf2onnx

    from feredge.keras import tf

    signature = [tf.TensorSpec(core.input_shape, tf.float32, name=PIXELS)]
    model, _ = tf2onnx.convert.from_keras(core, input_signature=signature, opset=opset)
    _name_by_layer(model.graph)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.name, model.graph.doc_string = "feredge", ""
    return model


def at_precision(core: Any, precision: str, *, calibration: Images) -> Any:
    """Return a `core_graph` in the input contract, its numbers stored as `precision`.

    `dynamic-int8` stores kernels as int8, one scale a channel, small ones left out as in TFLite, and multiplies
    them out when the file is loaded: weights only, at the speed and nearly the outputs of float32. onnxruntime's
    own `quantize_dynamic` is not used: it writes ConvInteger, which took four times float32's time here, and
    takes the ranges of activations from the whole batch, so that an image's answer depends on its neighbours.

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

    used = {node.domain for node in model.graph.node}
    for domain in [domain for domain in model.opset_import if domain.domain not in used]:
        model.opset_import.remove(domain)  # the tools declare all they know; a runtime may refuse one it does not
    model.producer_name, model.producer_version = "feredge", card.versions.get("feredge", "")
    del model.metadata_props[:]
    helper.set_model_props(model, {CARD_KEY: json.dumps(card.to_json(), sort_keys=True)})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _name_by_layer(graph: Any) -> None:
    """Name a node `<layer>/<operation>`, its output likewise, its constants `<layer>/<operation>/<input>`."""
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    taken: set[str] = set()
    for node in graph.node:
        path = node.name.split("/")
        base = name = "/".join([*path[1:-1], node.op_type])
        while name in taken:
            name = f"{base}{len(taken)}"
        taken.add(name)
        node.name = name
        for position, constant in enumerate(node.input):
            names.setdefault(constant, f"{name}/{position}")
        for position, output in enumerate(node.output):
            names.setdefault(output, f"{name}:{position}" if position else name)
        node.input[:] = [names[value] for value in node.input]
        node.output[:] = [names[value] for value in node.output]
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    del graph.value_info[:]


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
    if node.op_type != "QuantizeLinear" or scale_and_zero(graph, node) != (np.float32(1 / 255), 0):
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
        return _shorten_names(onnx.load(written))


def _shorten_names(model: Any) -> Any:
    """Shorten what the quantizer adds to names: in `nano` they were a tenth of the file."""
    short = {"_DequantizeLinear_Output": "_dq", "_QuantizeLinear_Output": "_q", "_quantized": "_i", "_zero_point": "_z"}

    def renamed(name: str) -> str:
        for ending, shorter in short.items():
            name = name.replace(ending, shorter)
        return name

    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.name = ""  # names of operations are optional, and these repeat their tensor's
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
    for tensor in model.graph.initializer:
        tensor.name = renamed(tensor.name)
    return model


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
        if node.op_type not in ONNX_WEIGHTED or node.input[1] not in known:
            continue
        name = node.input[1]
        kernel = numpy_helper.to_array(known[name])
        if kernel.size < SMALL_KERNEL:
            continue
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
