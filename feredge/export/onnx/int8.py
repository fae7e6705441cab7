"""Static int8 for ONNX: ranges from calibration, then onnxruntime's quantizer, as often as layers are tried."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
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
from feredge.export.onnx.converter import IMAGE, PIXELS, input_is_image, keeps_sums, scale_pixels
from feredge.inference.contract import Images
from feredge.inspection.weights import LAYOUT_OPS, ONNX_KERNEL_OPS, consumer, scale_and_zero_point

BATCH = 32


class Int8Onnx:
    """A `core_graph`, calibrated.

    Attributes:
        layers: those with kernels, by their Keras names, in the graph's order.
    """

    def __init__(
        self,
        graph: Any,
        calibration: Images,
        *,
        method: str = "min-max",
        full_range: bool = False,
        weight_quantization: WeightQuantization = SUM_PRESERVING,
    ) -> None:
        """Calibrate.

        Args:
            graph: what `core_graph` returned.
            calibration: `uint8 (N, H, W, C)`.
            method: of ranges.py.
            full_range: give kernels 8 bits, not 7.
            weight_quantization: rounding and granularity of the kernels.
        """
        self._prepared = _prepared(graph)
        self._reduce_range = not full_range
        self._per_channel = weight_quantization.granularity == "per_channel"
        self._ranges = ranges.calibrate_ranges(lambda: _activations(self._prepared, calibration), method)
        for name in _pixel_tensors(self._prepared.graph):  # whatever the images hold: raw pixels are the integers
            self._ranges[name] = 0.0, 1.0
        nodes = [node.name for node in self._prepared.graph.node if node.op_type in ONNX_KERNEL_OPS]
        self.layers = tuple(dict.fromkeys(name.split("/")[0] for name in nodes))
        levels = INT8_LEVELS if full_range else REDUCED_LEVELS
        sum_preserving = weight_quantization.rounding == "sum_preserving"
        self._rounded = _rounded(self._prepared.graph, levels) if sum_preserving else {}

    def quantize(self, keep_float: Collection[str] = ()) -> bytes:
        """Return the int8 model, `uint8 (N, H, W, C)` to probabilities, with the layers `keep_float` in float32.

        Weights are int8, activations uint8, as QDQ. The softmax and what it is given stay in float: 256 steps would
        tie classes.
        """
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
        from onnxruntime.quantization.registry import QDQRegistry

        model = onnx.ModelProto()
        model.CopyFrom(self._prepared)
        excluded = [
            node.name for node in model.graph.node if node.op_type == "Softmax" or node.name.split("/")[0] in keep_float
        ]
        for tensor in model.graph.initializer:
            layer, rounded = self._rounded.get(tensor.name, ("", None))
            if rounded is not None and layer not in keep_float:
                tensor.CopyFrom(rounded)
        found = {name: (np.float32(low), np.float32(high)) for name, (low, high) in self._ranges.items()}
        data = TensorsData(CalibrationMethod.MinMax, {name: tuple(map(np.array, pair)) for name, pair in found.items()})
        quantizer = QDQQuantizer(
            model, self._per_channel, self._reduce_range, QuantType.QInt8, QuantType.QUInt8, data, [], excluded,
            sorted(QDQRegistry), {},
        )  # fmt: skip
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        model = _take_pixels(_shorten_names(_with_exact_logits(quantizer.model.model)))
        return bytes(model.SerializeToString(deterministic=True))

    def outputs(self, model: bytes, images: Images) -> dict[str, NDArray[np.float32]]:
        """Return what each layer of a model that `quantize` gave has as its output, before it is rounded."""
        from feredge.inference.runtimes import onnx_session

        wide = onnx.load_from_string(model)
        nodes = [node for node in wide.graph.node if node.op_type in ONNX_KERNEL_OPS]
        names = {node.output[0]: node.name.split("/")[0] for node in nodes}
        known = {output.name for output in wide.graph.output}
        wide.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in known)
        session = onnx_session(wide.SerializeToString(), threads=1, optimize=False)
        found = session.run(list(names), {IMAGE: images})
        return dict(zip(names.values(), found, strict=True))


def _prepared(graph: Any) -> Any:
    """Return `graph` with constants folded and shapes inferred."""
    from onnxruntime.quantization import quant_pre_process
    from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

    with tempfile.TemporaryDirectory() as folder:
        given, prepared = Path(folder, "float32.onnx"), Path(folder, "prepared.onnx")
        onnx.save(graph, given)
        # Its symbolic shape inference would need sympy and finds nothing more in networks of fixed shape.
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        model = load_model_with_shape_infer(prepared)
    _add_what_only_shifts(model.graph)
    return model


def _add_what_only_shifts(graph: Any) -> None:
    """Make an addition of each normalization that has no gain: it would stay in float, with both conversions beside."""
    known = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "BatchNormalization":
            continue
        scale, centre, mean, variance = (numpy_helper.to_array(known[name]) for name in node.input[1:])
        epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
        gain = scale / np.sqrt(variance + epsilon)
        if np.abs(gain - 1).max() < 1e-6:
            shift = numpy_helper.from_array((centre - mean).reshape(-1, 1, 1), f"{node.name}/shift")
            graph.initializer.append(shift)
            node.op_type, node.input[:] = "Add", [node.input[0], shift.name]
            del node.attribute[:]


def _rounded(graph: Any, levels: int) -> dict[str, tuple[str, Any]]:
    """Return the layer and the rounded kernel of each convolution, by the kernel's name."""
    known = {tensor.name: tensor for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        if keeps_sums(node) and node.input[1] in known:
            kernel = round_preserving_sums(numpy_helper.to_array(known[node.input[1]]), axis=0, levels=levels)
            found[node.input[1]] = node.name.split("/")[0], numpy_helper.from_array(kernel, node.input[1])
    return found


def _with_exact_logits(model: Any) -> Any:
    """Give the last softmax what the layer before it computes, and not what is left of it in 256 steps."""
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    softmax = made_by[graph.output[0].name]
    dequantize = made_by.get(softmax.input[0], softmax)
    quantize = made_by.get(dequantize.input[0], dequantize)
    if [node.op_type for node in (quantize, dequantize, softmax)] != ["QuantizeLinear", "DequantizeLinear", "Softmax"]:
        return model  # the layer before was left in float
    softmax.input[0] = quantize.input[0]
    graph.node.remove(dequantize)
    graph.node.remove(quantize)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    return model


def _pixel_tensors(graph: Any) -> list[str]:
    """Return the input, and what only moves its pixels."""
    names = [PIXELS]
    while (node := consumer(graph, names[-1])).op_type in LAYOUT_OPS:
        names.append(node.output[0])
    return names


def _activations(model: Any, images: Images) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield every float tensor that `model` computes, batch by batch."""
    from feredge.inference.runtimes import onnx_session

    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    floats = {value.name for value in wide.graph.value_info if value.type.tensor_type.elem_type == 1}
    names = [name for node in wide.graph.node for name in node.output if name in floats]
    wide.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    names += [output.name for output in model.graph.output]
    session = onnx_session(wide.SerializeToString(), threads=1)
    for at in range(0, len(images), BATCH):
        pixels = images[at : at + BATCH].astype(np.float32) / np.float32(255)
        yield dict(zip(names, session.run(names, {PIXELS: pixels}), strict=True))


def _take_pixels(model: Any) -> Any:
    """Let the raw image take the place of what the first QuantizeLinear gives: at 1/255 and 0 they are the same."""
    graph = model.graph
    node = consumer(graph, PIXELS)
    first = node
    while node.op_type in LAYOUT_OPS:  # these move pixels and change no value, so they work on uint8 as well
        node = consumer(graph, node.output[0])
    if node.op_type != "QuantizeLinear":  # the first layer was left in float
        return scale_pixels(model)
    if scale_and_zero_point(graph, node) != (np.float32(1 / 255), 0):
        raise ArtifactError(f"expected the quantizer to scale pixels by 1/255, found {node.op_type} {node.name}")
    (dequantize,) = [other for other in graph.node if node.output[0] in other.input]
    dequantize.input[0] = node.input[0]
    graph.node.remove(node)
    first_input = first if first is not node else dequantize
    first_input.input[0] = IMAGE
    input_is_image(graph)
    del graph.value_info[:]  # they speak of float pixels
    return model


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
