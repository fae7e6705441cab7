"""Conversion of a core to ONNX by tf2onnx, with kernels in float32, float16 or int8."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from feredge.compress.rounding import SUM_PRESERVING, WeightQuantization, round_preserving_sums
from feredge.export.passes import (
    DENSE_VARIANT,
    ROUND_GRAPH_KERNELS,
    Target,
    check_pass,
    run_network_passes,
    weight_quantization_of,
)
from feredge.inference.artifact import CARD_KEY, Card
from feredge.inference.contract import Images
from feredge.inspection.weights import ONNX_KERNEL_OPS, SMALL_KERNEL
from feredge.recipes.variant import Variant

if TYPE_CHECKING:
    from feredge.keras import KerasModel

# onnxruntime sends telemetry by default; it reads this variable at its first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

CORE_INPUT = "pixels"  # float32 in [0, 1]
FILE_INPUT = "image"  # uint8


def to_onnx(
    core: KerasModel, precision: str, *, opset: int, calibration: Images, variant: Variant = DENSE_VARIANT
) -> bytes:
    """Return an ONNX model that takes `uint8 (N, H, W, C)` images, after the passes for `precision`; no static int8.

    Args:
        core: the network of `variant`, `float32 (N, H, W, C)` in [0, 1] to probabilities.
        precision: `float32`, `float16` or `dynamic-int8`.
        opset: of the ONNX operators.
        calibration: `uint8 (N, H, W, C)`, used to check passes in debug runs.
        variant: of the network.
    """
    target = Target(variant, precision, "onnx")
    graph = core_graph(run_network_passes(core, target, calibration), opset=opset)
    model = at_precision(graph, precision, weight_quantization=weight_quantization_of(target), calibration=calibration)
    return bytes(model.SerializeToString(deterministic=True))


def core_graph(core: KerasModel, *, opset: int) -> Any:
    """Return a core as an ONNX model: `pixels` float32 NHWC in [0, 1], any batch size, to probabilities.

    Nodes and tensors are named after their layers. tf2onnx's names hold numbers from a counter of the process and
    repeat the network's path: in a small int8 file they took a fifth of the bytes.
    """
    import tf2onnx

    from feredge.keras import tf

    signature = [tf.TensorSpec(core.input_shape, tf.float32, name=CORE_INPUT)]
    handlers: dict[str, Any] = {"Erfc": (_convert_erfc, [])}
    model, _ = tf2onnx.convert.from_keras(core, input_signature=signature, opset=opset, custom_op_handlers=handlers)
    _name_by_layer(model.graph)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.name, model.graph.doc_string = "feredge", ""
    return model


def _convert_erfc(graph: Any, node: Any, name: str, args: Any) -> None:
    """Convert Erfc, in which TensorFlow computes a GELU, to 1 - Erf, for tf2onnx."""
    node.type = "Erf"
    one = graph.make_const(f"{name}_one", np.float32(1))
    graph.insert_new_node_on_output("Sub", node.output[0], f"{name}_erfc", [one.output[0], node.output[0]])


def at_precision(
    graph: Any,
    precision: str,
    *,
    weight_quantization: WeightQuantization = SUM_PRESERVING,
    calibration: Images | None = None,
) -> Any:
    """Return a model that takes `uint8` images, its kernels stored as `precision`. For static int8 see int8.py.

    `float16` stores kernels in half precision and casts them to float32 at loading, as TFLite does: CPUs have no
    half-precision convolutions, and the file is half as large. `dynamic-int8` quantizes the weights only, small
    kernels excepted as in TFLite, and dequantizes them at loading: the speed and nearly the outputs of float32.
    onnxruntime's `quantize_dynamic` is not used: its ConvInteger took four times the time of float32, and the ranges
    of activations are those of the whole batch, so that an image's output depends on the others.

    Args:
        graph: the result of `core_graph`, which is not changed.
        precision: `float32`, `float16` or `dynamic-int8`.
        weight_quantization: rounding and granularity of int8 kernels.
        calibration: `uint8 (N, H, W, C)`, used to check the rounding in debug runs.
    """
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    if precision == "dynamic-int8":
        if weight_quantization.rounding == "sum_preserving":
            _round_kernels(model.graph, min_size=SMALL_KERNEL)
            if calibration is not None:
                check_pass(ROUND_GRAPH_KERNELS, precision, graph, model, calibration)
        _store_kernels_as_integers(model, weight_quantization)
    elif precision == "float16":
        _store_kernels_as_float16(model)
    return add_pixel_scaling(model)


def with_card(model: Any, card: Card) -> bytes:
    """Return the bytes of `model` with `card` as its only metadata."""
    used_domains = {node.domain for node in model.graph.node}
    for opset in [opset for opset in model.opset_import if opset.domain not in used_domains]:
        model.opset_import.remove(opset)  # unused domains are declared too; a runtime may refuse an unknown one
    model.producer_name, model.producer_version = "feredge", card.versions.get("feredge", "")
    del model.metadata_props[:]
    helper.set_model_props(model, {CARD_KEY: json.dumps(card.to_json(), sort_keys=True)})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _name_by_layer(graph: Any) -> None:
    """Name a node `<layer>/<operation>`, its output likewise, its constants `<layer>/<operation>/<input>`.

    Constants are sorted by their first use: tf2onnx's order differs from run to run.
    """
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    node_names: set[str] = set()
    for node in graph.node:
        path = node.name.split("/")
        base = name = "/".join([*path[1:-1], node.op_type])
        while name in node_names:
            name = f"{base}{len(node_names)}"
        node_names.add(name)
        node.name = name
        for position, constant in enumerate(node.input):
            names.setdefault(constant, f"{name}/{position}")
        for position, output in enumerate(node.output):
            names.setdefault(output, f"{name}:{position}" if position else name)
        node.input[:] = [names[value] for value in node.input]
        node.output[:] = [names[value] for value in node.output]
    inputs = dict.fromkeys(name for node in graph.node for name in node.input)
    first_use = {name: index for index, name in enumerate(inputs)}
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    graph.initializer.sort(key=lambda tensor: first_use[tensor.name])
    del graph.value_info[:]


def add_pixel_scaling(model: Any) -> Any:
    """Prepend `pixels = float32(image) * (1/255)`, the scaling of the input contract."""
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.float32(1 / 255), "scale"))
    _prepend_nodes(
        graph,
        helper.make_node("Cast", [FILE_INPUT], ["image_float"], "to_float", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["image_float", "scale"], [CORE_INPUT], "to_unit_range"),
    )
    set_uint8_input(graph)
    return model


def is_ungrouped_conv(node: Any) -> bool:
    """Return whether a node is a convolution without groups: sum-preserving rounding is for no depthwise kernels."""
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    return bool(node.op_type == "Conv" and groups == 1)


def set_uint8_input(graph: Any) -> None:
    """Declare the input as a `uint8` image."""
    graph.input[0].name = FILE_INPUT
    graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def _round_kernels(graph: Any, *, min_size: int) -> None:
    """Replace the kernels of convolutions without groups by their sum-preserving rounding to int8."""
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        tensor = initializers.get(node.input[1]) if is_ungrouped_conv(node) else None
        if tensor is not None and math.prod(tensor.dims) >= min_size:
            kernel = round_preserving_sums(numpy_helper.to_array(tensor), axis=0)
            tensor.CopyFrom(numpy_helper.from_array(kernel, tensor.name))


def _store_kernels_as_integers(model: Any, weight_quantization: WeightQuantization) -> None:
    """Replace each kernel by int8 values and a scale, multiplied by Cast and Mul.

    onnxruntime folds these constants at loading. It does not fold DequantizeLinear, which would run for each image
    and add two thirds to the latency.
    """
    graph = model.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type not in ONNX_KERNEL_OPS or node.input[1] not in initializers:
            continue
        name = node.input[1]
        kernel = numpy_helper.to_array(initializers[name])
        if kernel.size < SMALL_KERNEL:
            continue
        axis = 0 if node.op_type == "Conv" else kernel.ndim - 1
        values, scale = _symmetric(kernel, axis if weight_quantization.granularity == "per_channel" else None)
        graph.initializer.remove(initializers.pop(name))
        graph.initializer.append(numpy_helper.from_array(values, f"{name}_int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        nodes += [
            helper.make_node("Cast", [f"{name}_int8"], [f"{name}_cast"], f"{name}_to_float", to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name], f"{name}_scaled"),
        ]
    _prepend_nodes(graph, *nodes)


def _store_kernels_as_float16(model: Any) -> None:
    """Replace each kernel by its float16 values and a Cast, which onnxruntime folds at loading."""
    graph = model.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type in ONNX_KERNEL_OPS and node.input[1] in initializers:
            name = node.input[1]
            kernel = numpy_helper.to_array(initializers[name]).astype(np.float16)
            graph.initializer.remove(initializers.pop(name))
            graph.initializer.append(numpy_helper.from_array(kernel, f"{name}_half"))
            nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_to_float", to=TensorProto.FLOAT))
    _prepend_nodes(graph, *nodes)


def _symmetric(kernel: NDArray[np.float32], axis: int | None) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantize `kernel` symmetrically: int8 values in -127..127, and a scale per channel on `axis` or one for all."""
    reduced_axes = tuple(i for i in range(kernel.ndim) if i != axis)
    scale = np.abs(kernel).max(axis=reduced_axes, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    return np.rint(kernel / scale).astype(np.int8), scale.astype(np.float32)


def _prepend_nodes(graph: Any, *nodes: Any) -> None:
    existing = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *existing])
