"""A network to ONNX, by tf2onnx, in float32 or with its kernels stored smaller."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from feredge.compress.rounding import SUM_PRESERVING, WeightQuantization, round_preserving_sums
from feredge.inference.artifact import CARD_KEY, Card
from feredge.inspection.weights import ONNX_KERNEL_OPS, SMALL_KERNEL

# onnxruntime reports to its maker by default, and only this, before its first import, prevents it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

PIXELS, IMAGE = "pixels", "image"  # the core's input, float32 in [0, 1]; the file's input, uint8


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


def at_precision(core: Any, precision: str, *, weight_quantization: WeightQuantization = SUM_PRESERVING) -> Any:
    """Return a `core_graph` in the input contract, its kernels stored as `precision`. For int8 see int8_onnx.py.

    `float16` stores kernels in half precision and widens them when the file is loaded, as TFLite's does: CPUs have no
    half-precision convolutions, and the file is half as large. `dynamic-int8` stores kernels as int8, small ones left
    out as in TFLite, and multiplies them out when the file is loaded: weights only, at the speed and nearly the
    outputs of float32. onnxruntime's own `quantize_dynamic` is not used: it writes ConvInteger, which took four
    times float32's time here, and takes the ranges of activations from the whole batch, so that an image's answer
    depends on its neighbours.

    Args:
        core: what `core_graph` returned; it is left as it is.
        precision: `float32`, `float16` or `dynamic-int8`.
        weight_quantization: rounding and granularity of int8 kernels.
    """
    model = onnx.ModelProto()
    model.CopyFrom(core)
    if precision == "dynamic-int8":
        _store_kernels_as_integers(model, weight_quantization)
    elif precision == "float16":
        _store_kernels_in_half(model)
    return scale_pixels(model)


def with_card(model: Any, card: Card) -> bytes:
    """Return the bytes of `model` with `card` in its metadata, and nothing else there."""
    used = {node.domain for node in model.graph.node}
    for domain in [domain for domain in model.opset_import if domain.domain not in used]:
        model.opset_import.remove(domain)  # the tools declare all they know; a runtime may refuse one it does not
    model.producer_name, model.producer_version = "feredge", card.versions.get("feredge", "")
    del model.metadata_props[:]
    helper.set_model_props(model, {CARD_KEY: json.dumps(card.to_json(), sort_keys=True)})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _name_by_layer(graph: Any) -> None:
    """Name a node `<layer>/<operation>`, its output likewise, its constants `<layer>/<operation>/<input>`.

    Constants are put in the order of their use: tf2onnx's is another one from run to run.
    """
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
    used = {name: place for place, name in enumerate(dict.fromkeys(name for node in graph.node for name in node.input))}
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    graph.initializer.sort(key=lambda tensor: used[tensor.name])
    del graph.value_info[:]


def scale_pixels(model: Any) -> Any:
    """Put `pixels = float32(image) * (1/255)` in front, as the float network has it."""
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.float32(1 / 255), "scale"))
    _put_first(
        graph,
        helper.make_node("Cast", [IMAGE], ["image_float"], "to_float", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["image_float", "scale"], [PIXELS], "to_unit_range"),
    )
    input_is_image(graph)
    return model


def keeps_sums(node: Any) -> bool:
    """Return whether a node is a convolution that `round_preserving_sums` may round: one that is not depthwise."""
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    return bool(node.op_type == "Conv" and groups == 1)


def input_is_image(graph: Any) -> None:
    graph.input[0].name = IMAGE
    graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def _store_kernels_as_integers(model: Any, weight_quantization: WeightQuantization) -> None:
    """Replace each kernel by int8 values times a scale, as Cast and Mul.

    onnxruntime folds constants, so the product is taken once, at loading. It does not fold DequantizeLinear,
    which would be worked out again with each image and cost two thirds of the time on top.
    """
    graph = model.graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type not in ONNX_KERNEL_OPS or node.input[1] not in known:
            continue
        name = node.input[1]
        kernel = numpy_helper.to_array(known[name])
        if kernel.size < SMALL_KERNEL:
            continue
        axis = 0 if node.op_type == "Conv" else kernel.ndim - 1
        if weight_quantization.rounding == "sum_preserving" and keeps_sums(node):
            kernel = round_preserving_sums(kernel, axis=axis)
        values, scale = _symmetric(kernel, axis if weight_quantization.granularity == "per_channel" else None)
        graph.initializer.remove(known.pop(name))
        graph.initializer.append(numpy_helper.from_array(values, f"{name}_int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        nodes += [
            helper.make_node("Cast", [f"{name}_int8"], [f"{name}_cast"], f"{name}_to_float", to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name], f"{name}_scaled"),
        ]
    _put_first(graph, *nodes)


def _store_kernels_in_half(model: Any) -> None:
    """Replace each kernel by its float16 values and a Cast, which onnxruntime folds at loading."""
    graph = model.graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type in ONNX_KERNEL_OPS and node.input[1] in known:
            name = node.input[1]
            kernel = numpy_helper.to_array(known[name]).astype(np.float16)
            graph.initializer.remove(known.pop(name))
            graph.initializer.append(numpy_helper.from_array(kernel, f"{name}_half"))
            nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_to_float", to=TensorProto.FLOAT))
    _put_first(graph, *nodes)


def _symmetric(kernel: NDArray[np.float32], axis: int | None) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 values in -127..127 and scales, along `axis` or one in all, their product nearest to `kernel`."""
    others = tuple(i for i in range(kernel.ndim) if i != axis)
    scale = np.abs(kernel).max(axis=others, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    return np.rint(kernel / scale).astype(np.int8), scale.astype(np.float32)


def _put_first(graph: Any, *nodes: Any) -> None:
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
