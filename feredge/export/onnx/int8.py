"""Static int8 for ONNX: calibrated once, then quantized by onnxruntime with any subset of layers kept in float32."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from feredge.compress import ranges
from feredge.compress.rounding import (
    INT8_LEVELS,
    REDUCED_LEVELS,
    SUM_PRESERVING,
    WeightQuantization,
    round_preserving_sums,
)
from feredge.errors import ArtifactError
from feredge.export.onnx.converter import CORE_INPUT, FILE_INPUT, add_pixel_scaling, is_ungrouped_conv, set_uint8_input
from feredge.export.passes import CHECKED_IMAGES, REPLACE_UNIT_GAIN_BATCHNORMS, ROUND_GRAPH_KERNELS, check_pass
from feredge.inference.contract import Images
from feredge.inspection.weights import LAYOUT_OPS, ONNX_KERNEL_OPS, consumer, scale_and_zero_point

CALIBRATION_BATCH = 32
SHORT_SUFFIXES = {
    "_DequantizeLinear_Output": "_dq",
    "_QuantizeLinear_Output": "_q",
    "_quantized": "_i",
    "_zero_point": "_z",
}


class Int8Onnx:
    """A calibrated `core_graph`.

    Attributes:
        layers: Keras names of the layers with kernels, in the graph's order.
    """

    def __init__(
        self,
        graph: Any,
        calibration: Images,
        *,
        method: str = "min-max",
        reduce_range: bool = True,
        weight_quantization: WeightQuantization = SUM_PRESERVING,
    ) -> None:
        """Calibrate.

        Args:
            graph: the result of `core_graph`.
            calibration: `uint8 (N, H, W, C)`.
            method: how activation ranges are calibrated: see compress/ranges.py.
            reduce_range: kernels of 7 bits instead of 8.
            weight_quantization: rounding and granularity of the kernels.
        """
        self._preprocessed = _preprocess(graph, calibration)
        self._check_images = calibration[:CHECKED_IMAGES]
        self._reduce_range = reduce_range
        self._per_channel = weight_quantization.granularity == "per_channel"
        self._ranges = ranges.calibrate_ranges(lambda: _activations(self._preprocessed, calibration), method)
        for name in _pixel_tensors(self._preprocessed.graph):  # fixed range: the quantized input is the raw pixels
            self._ranges[name] = 0.0, 1.0
        nodes = [node.name for node in self._preprocessed.graph.node if node.op_type in ONNX_KERNEL_OPS]
        self.layers = tuple(dict.fromkeys(name.split("/")[0] for name in nodes))
        levels = REDUCED_LEVELS if reduce_range else INT8_LEVELS
        sum_preserving = weight_quantization.rounding == "sum_preserving"
        self._rounded = _sum_preserving_kernels(self._preprocessed.graph, levels) if sum_preserving else {}

    def quantize(self, keep_float: Collection[str] = ()) -> bytes:
        """Return the int8 model, `uint8 (N, H, W, C)` to probabilities, with the layers `keep_float` in float32.

        Weights are int8, activations uint8, in QDQ format. The softmax and its input stay in float32: 8-bit
        logits would often be equal for two classes.
        """
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
        from onnxruntime.quantization.registry import QDQRegistry

        model = onnx.ModelProto()
        model.CopyFrom(self._preprocessed)
        excluded = [
            node.name for node in model.graph.node if node.op_type == "Softmax" or node.name.split("/")[0] in keep_float
        ]
        if self._rounded:
            self._replace_kernels(model, keep_float)
        bounds = {
            name: (np.array(np.float32(low)), np.array(np.float32(high))) for name, (low, high) in self._ranges.items()
        }
        data = TensorsData(CalibrationMethod.MinMax, bounds)
        quantizer = QDQQuantizer(
            model, self._per_channel, self._reduce_range, QuantType.QInt8, QuantType.QUInt8, data, [], excluded,
            sorted(QDQRegistry), {},
        )  # fmt: skip
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        model = _accept_uint8_input(_shorten_names(_keep_logits_in_float(quantizer.model.model)))
        return bytes(model.SerializeToString(deterministic=True))

    def _replace_kernels(self, model: Any, keep_float: Collection[str]) -> None:
        for tensor in model.graph.initializer:
            layer, rounded = self._rounded.get(tensor.name, ("", None))
            if rounded is not None and layer not in keep_float:
                tensor.CopyFrom(rounded)
        check_pass(ROUND_GRAPH_KERNELS, "int8", self._preprocessed, model, self._check_images)

    def layer_outputs(self, model: bytes, images: Images) -> dict[str, NDArray[np.float32]]:
        """Return each layer's float output, before its QuantizeLinear, in a model that `quantize` returned."""
        from feredge.inference.runtimes import onnx_session

        proto = onnx.load_from_string(model)
        nodes = [node for node in proto.graph.node if node.op_type in ONNX_KERNEL_OPS]
        layers = {node.output[0]: node.name.split("/")[0] for node in nodes}
        _add_outputs(proto.graph, layers)
        session = onnx_session(proto.SerializeToString(), threads=1, optimize=False)
        return dict(zip(layers.values(), session.run(list(layers), {FILE_INPUT: images}), strict=True))


def _preprocess(graph: Any, calibration: Images) -> Any:
    """Return `graph` with constants folded and shapes inferred."""
    from onnxruntime.quantization import quant_pre_process
    from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

    with tempfile.TemporaryDirectory() as folder:
        source, preprocessed = Path(folder, "float32.onnx"), Path(folder, "preprocessed.onnx")
        onnx.save(graph, source)
        # Symbolic shape inference needs sympy, and adds nothing for networks of fixed shape.
        quant_pre_process(source, preprocessed, skip_symbolic_shape=True)
        model = load_model_with_shape_infer(preprocessed)
    replaced = onnx.ModelProto()
    replaced.CopyFrom(model)
    _replace_unit_gain_batchnorms(replaced.graph)
    check_pass(REPLACE_UNIT_GAIN_BATCHNORMS, "int8", model, replaced, calibration)
    return replaced


def _replace_unit_gain_batchnorms(graph: Any) -> None:
    """Replace each BatchNormalization of gain 1 by an Add, which has an int8 kernel."""
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "BatchNormalization":
            continue
        gamma, beta, mean, variance = (numpy_helper.to_array(initializers[name]) for name in node.input[1:])
        epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
        gain = gamma / np.sqrt(variance + epsilon)
        if np.abs(gain - 1).max() < 1e-6:
            shift = numpy_helper.from_array((beta - mean).reshape(-1, 1, 1), f"{node.name}/shift")
            graph.initializer.append(shift)
            node.op_type, node.input[:] = "Add", [node.input[0], shift.name]
            del node.attribute[:]


def _sum_preserving_kernels(graph: Any, levels: int) -> dict[str, tuple[str, Any]]:
    """Return the layer and the kernel, rounded with its sums preserved, of each convolution, by the kernel's name."""
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    rounded = {}
    for node in graph.node:
        if is_ungrouped_conv(node) and node.input[1] in initializers:
            kernel = round_preserving_sums(numpy_helper.to_array(initializers[node.input[1]]), axis=0, levels=levels)
            rounded[node.input[1]] = node.name.split("/")[0], numpy_helper.from_array(kernel, node.input[1])
    return rounded


def _keep_logits_in_float(model: Any) -> Any:
    """Connect the softmax to the float32 output of the layer before it, without quantization in between."""
    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    softmax = producers[graph.output[0].name]
    dequantize = producers.get(softmax.input[0], softmax)
    quantize = producers.get(dequantize.input[0], dequantize)
    if [node.op_type for node in (quantize, dequantize, softmax)] != ["QuantizeLinear", "DequantizeLinear", "Softmax"]:
        return model  # the layer before is in float32
    softmax.input[0] = quantize.input[0]
    graph.node.remove(dequantize)
    graph.node.remove(quantize)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    return model


def _pixel_tensors(graph: Any) -> list[str]:
    """Return the input and its transpositions and reshapes, which hold the same values."""
    names = [CORE_INPUT]
    while True:
        readers = [node for node in graph.node if names[-1] in node.input]
        if len(readers) != 1 or readers[0].op_type not in LAYOUT_OPS:  # several read the pixels of parallel branches
            return names
        names.append(readers[0].output[0])


def _activations(model: Any, images: Images) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield every float32 tensor that `model` computes, batch by batch."""
    from feredge.inference.runtimes import onnx_session

    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    floats = {value.name for value in proto.graph.value_info if value.type.tensor_type.elem_type == 1}
    names = [name for node in proto.graph.node for name in node.output if name in floats]
    _add_outputs(proto.graph, names)
    names += [output.name for output in model.graph.output if output.name not in names]
    session = onnx_session(proto.SerializeToString(), threads=1)
    for start in range(0, len(images), CALIBRATION_BATCH):
        pixels = images[start : start + CALIBRATION_BATCH].astype(np.float32) / np.float32(255)
        yield dict(zip(names, session.run(names, {CORE_INPUT: pixels}), strict=True))


def _add_outputs(graph: Any, names: Iterable[str]) -> None:
    """Make tensors outputs of the graph, unless they are already."""
    outputs = {output.name for output in graph.output}
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in outputs)


def _accept_uint8_input(model: Any) -> Any:
    """Replace the first QuantizeLinear by the `uint8` image: with scale 1/255 and zero point 0 they are equal."""
    graph = model.graph
    node = consumer(graph, CORE_INPUT)
    first = node
    while node.op_type in LAYOUT_OPS:  # transpositions and reshapes work on uint8 as well
        node = consumer(graph, node.output[0])
    if node.op_type != "QuantizeLinear":  # the first layer is in float32
        return add_pixel_scaling(model)
    if scale_and_zero_point(graph, node) != (np.float32(1 / 255), 0):
        raise ArtifactError(f"expected the quantizer to scale pixels by 1/255, found {node.op_type} {node.name}")
    (dequantize,) = [reader for reader in graph.node if node.output[0] in reader.input]
    dequantize.input[0] = node.input[0]
    graph.node.remove(node)
    first_input = first if first is not node else dequantize
    first_input.input[0] = FILE_INPUT
    set_uint8_input(graph)
    del graph.value_info[:]  # its types are those of a float32 input
    return model


def _shorten_names(model: Any) -> Any:
    """Shorten the suffixes that the quantizer appends to names: they made up a tenth of `nano`'s file."""

    def renamed(name: str) -> str:
        for suffix, short in SHORT_SUFFIXES.items():
            name = name.replace(suffix, short)
        return name

    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.name = ""  # optional for nodes, and these repeat their tensor's name
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
    for tensor in model.graph.initializer:
        tensor.name = renamed(tensor.name)
    return model
