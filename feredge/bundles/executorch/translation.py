"""An ONNX graph, in float32 or quantized with QuantizeLinear and DequantizeLinear, as a graph of PyTorch (torch.fx).

The operators of `quantized_decomposed` in it are those that ExecuTorch's XNNPACK partitioner takes: activations are
int8, so ONNX's uint8 ones are shifted by 128, with their zero points, which changes no value. Weights are int8 with a
scale for each output channel where the result of their layer is quantized. Those of a layer with a float32 result, as
the last one, become float32: XNNPACK has no such layer of int8 weights and a static scale of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.bundles.onnx_graph import (
    Attributes,
    Operand,
    Translation,
    cast,
    clip_bounds,
    constant,
    identity,
    paddings,
    reduced_axes,
    require_plain_flatten,
    require_plain_gemm,
    require_plain_max_pool,
    translate_graph,
)

UINT8_SHIFT = 128
"""From ONNX's uint8 activations to the int8 ones of XNNPACK."""


def build_module(model: Any) -> Any:
    """Return the `torch.fx.GraphModule` of an ONNX model: from uint8 (1, H, W, C) to the probabilities.

    Args:
        model: `onnx.ModelProto`, its weights inside it.

    Raises:
        UnsupportedNetworkError: an operator without a translation, or one in a form that has none.
    """
    import torch
    import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed

    graph, module = torch.fx.Graph(), torch.nn.Module()
    image = graph.placeholder("image")
    pixels = graph.call_method("to", (image, torch.float32))
    quantized = _quantized_results(model.graph)

    def node_builder(node: Any, number: int) -> _TorchBuilder:
        return _TorchBuilder(graph, module, node.output[0] in quantized)

    graph.output(translate_graph(model.graph, pixels, OPERATOR_TRANSLATIONS, node_builder, "the ExecuTorch target"))
    graph.eliminate_dead_code()
    _copy_shared_dequantizations(graph, torch.ops.quantized_decomposed.dequantize_per_tensor.default)
    return torch.fx.GraphModule(module, graph).eval()


def _copy_shared_dequantizations(graph: Any, dequantize: Any) -> None:
    """Give each layer its own dequantization of its input, as the partitioner matches them layer by layer."""
    for node in [node for node in graph.nodes if node.target is dequantize]:
        for user in list(node.users)[1:]:
            with graph.inserting_before(user):
                user.replace_input_with(node, graph.node_copy(node))


def _quantized_results(graph: Any) -> set[str]:
    """Return the names of the values that are quantized, at once or after a ReLU."""
    names = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    for node in reversed(graph.node):
        if node.op_type == "Relu" and node.output[0] in names:
            names.add(node.input[0])
    return names


@dataclass(frozen=True, eq=False)
class _QuantizedWeights:
    """Constant weights: int8 values with a scale for each index of an axis."""

    values: NDArray[Any]
    scales: NDArray[Any]
    axis: int

    def to_float(self) -> NDArray[Any]:
        shape = [-1 if axis == self.axis else 1 for axis in range(self.values.ndim)]
        return np.asarray(self.values.astype(np.float32) * self.scales.reshape(shape))

    def transposed(self) -> _QuantizedWeights:
        return _QuantizedWeights(self.values.T, self.scales, self.values.ndim - 1 - self.axis)


class _TorchBuilder:
    """Adds the operations of one ONNX node to a graph.

    Args:
        graph: `torch.fx.Graph`.
        module: holds its constants.
        quantized: whether the node's result is quantized.
    """

    def __init__(self, graph: Any, module: Any, quantized: bool) -> None:
        import torch

        self.torch, self.functional = torch, torch.nn.functional
        self.quantization = torch.ops.quantized_decomposed
        self.quantized = quantized
        self._graph, self._module = graph, module

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Add a function of variables and Python values, and return its result's variable."""
        return self._graph.call_function(function, arguments, options)

    def tensor(self, operand: Operand) -> Any:
        """Return an operand as a variable."""
        if isinstance(operand, _QuantizedWeights):
            operand = operand.to_float()
        if not isinstance(operand, np.ndarray):
            return operand
        name = f"constant{sum(1 for _ in self._module.buffers())}"
        self._module.register_buffer(name, self.torch.from_numpy(operand.copy(order="C")))
        return self._graph.get_attr(name)

    def weights(self, operand: Operand) -> Any:
        """Return the weights of a layer, their output channels first: int8 if its result is quantized."""
        if not isinstance(operand, _QuantizedWeights) or not self.quantized:
            return self.tensor(operand)
        if operand.axis != 0:
            raise ValueError("weights with a scale for each input channel")
        scales = np.broadcast_to(operand.scales, len(operand.values)).astype(np.float32)
        limits, dtype = (-128, 127), self.torch.int8
        values, scale, zero = map(self.tensor, (operand.values, scales, np.zeros(len(scales), np.int64)))
        return self.call(self.quantization.dequantize_per_channel.default, values, scale, zero, 0, *limits, dtype)


def _is_quantized(variable: Any, builder: _TorchBuilder) -> bool:
    """Whether a variable is int8: what QuantizeLinear returns."""
    return variable.target is builder.quantization.quantize_per_tensor.default


def _activation_parameters(operands: list[Operand], builder: _TorchBuilder) -> tuple[float, int, int, int, Any]:
    """Return scale, zero point, limits and dtype of int8 activations from those of ONNX's uint8 ones."""
    scale, zero_point = constant(operands[1]), constant(operands[2])
    if scale.size != 1 or zero_point.dtype not in (np.uint8, np.int8):
        raise ValueError("activations that are not 8-bit integers with one scale")
    shift = UINT8_SHIFT if zero_point.dtype == np.uint8 else 0
    return scale.item(), zero_point.item() - shift, -128, 127, builder.torch.int8


def _quantize(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    values, parameters = operands[0], _activation_parameters(operands, builder)
    if values.target is builder.functional.relu and parameters[1] == -128:
        values = values.args[0]  # the smallest value is zero: quantization clips as the ReLU does
    return builder.call(builder.quantization.quantize_per_tensor.default, values, *parameters)


def _dequantize(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    values = operands[0]
    if isinstance(values, np.ndarray):
        return _dequantized_constant(operands, attributes.get("axis", 1))
    parameters = _activation_parameters(operands, builder)
    if not _is_quantized(values, builder):
        values = _quantized_pixels(builder, values, parameters)
    return builder.call(builder.quantization.dequantize_per_tensor.default, values, *parameters)


def _dequantized_constant(operands: list[Operand], axis: int) -> Operand:
    values, scales = operands[0], np.atleast_1d(constant(operands[1]))
    if np.any(constant(operands[2])):
        raise ValueError("weights with a zero point")
    weights = _QuantizedWeights(values, scales, axis if scales.size > 1 and values.ndim > 1 else 0)
    return weights if values.dtype == np.int8 and values.ndim > 1 else weights.to_float()


def _quantized_pixels(builder: _TorchBuilder, pixels: Any, parameters: tuple[float, int, int, int, Any]) -> Any:
    """Return the image as int8: its uint8 pixels are quantized values from the start."""
    ancestors = [pixels]
    for variable in ancestors:
        if _is_quantized(variable, builder):
            raise ValueError("a quantized value that changes before it is dequantized")
        ancestors += variable.all_input_nodes
    if parameters[1] != -128:
        raise ValueError("pixels with a zero point")
    scaled = builder.call(builder.torch.mul, pixels, parameters[0])
    return builder.call(builder.quantization.quantize_per_tensor.default, scaled, *parameters)


def _binary(name: str) -> Translation:
    return lambda builder, operands, _: builder.call(getattr(builder.torch, name), *map(builder.tensor, operands))


def _activation(name: str) -> Translation:
    return lambda builder, operands, _: builder.call(getattr(builder.functional, name), operands[0])


def _leaky_relu(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    return builder.call(builder.functional.leaky_relu, operands[0], attributes.get("alpha", 0.01))


def _hard_sigmoid(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    torch = builder.torch
    scaled = builder.call(torch.mul, operands[0], attributes.get("alpha", 0.2))
    return builder.call(torch.clamp, builder.call(torch.add, scaled, attributes.get("beta", 0.5)), 0.0, 1.0)


def _clip(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    return builder.call(builder.torch.clamp, operands[0], *clip_bounds(operands, attributes))


def _padded(
    builder: _TorchBuilder, operands: list[Operand], attributes: Attributes, fill: float
) -> tuple[Operand, tuple[int, int]]:
    """Return a layer's input and the padding of both sides that it is to add; a one-sided one is added here."""
    top, left, bottom, right = paddings(attributes)
    if (top, left) == (bottom, right):
        return operands[0], (top, left)
    return builder.call(builder.functional.pad, operands[0], (left, right, top, bottom), "constant", fill), (0, 0)


def _conv(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    values, padding = _padded(builder, operands, attributes, 0.0)
    return builder.call(
        builder.functional.conv2d,
        values,
        builder.weights(operands[1]),
        builder.tensor(operands[2]) if len(operands) > 2 else None,
        tuple(attributes.get("strides", (1, 1))),
        padding,
        tuple(attributes.get("dilations", (1, 1))),
        attributes.get("group", 1),
    )


def _max_pool(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    require_plain_max_pool(attributes)
    values, padding = _padded(builder, operands, attributes, float(np.finfo(np.float32).min))
    strides = tuple(attributes.get("strides", (1, 1)))
    return builder.call(builder.functional.max_pool2d, values, tuple(attributes["kernel_shape"]), strides, padding)


def _average_pool(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    included = bool(attributes.get("count_include_pad"))
    values, padding = _padded(builder, operands, attributes, 0.0)
    if attributes.get("ceil_mode") or (values is not operands[0] and not included):
        raise ValueError("pooling with partial windows, or one-sided padding that is not counted")
    kernel, strides = tuple(attributes["kernel_shape"]), tuple(attributes.get("strides", (1, 1)))
    return builder.call(builder.functional.avg_pool2d, values, kernel, strides, padding, False, included)


def _reduce_mean(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    axes = reduced_axes(operands, attributes)
    return builder.call(builder.torch.mean, operands[0], axes, bool(attributes.get("keepdims", 1)))


def _global_average(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    return builder.call(builder.torch.mean, operands[0], [2, 3], True)


def _gemm(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    require_plain_gemm(attributes)
    weights = operands[1]
    if not attributes.get("transB"):
        weights = weights.transposed() if isinstance(weights, _QuantizedWeights) else constant(weights).T
    bias = builder.tensor(operands[2]) if len(operands) > 2 else None
    return builder.call(builder.functional.linear, operands[0], builder.weights(weights), bias)


def _matmul(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    if isinstance(operands[1], np.ndarray | _QuantizedWeights):
        return _gemm(builder, operands, {})
    return builder.call(builder.torch.matmul, *map(builder.tensor, operands))


def _reshape(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    sizes = constant(operands[1]).tolist()
    if 0 in sizes:
        raise ValueError("sizes that are the input's")
    return builder.call(builder.torch.reshape, operands[0], sizes)


def _flatten(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    require_plain_flatten(attributes)
    return builder.call(builder.torch.flatten, operands[0], 1)


def _squeeze(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    return builder.call(builder.torch.squeeze, operands[0], reduced_axes(operands, attributes))


def _transpose(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    return builder.call(builder.torch.permute, operands[0], tuple(attributes["perm"]))


def _concat(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    return builder.call(builder.torch.cat, [builder.tensor(operand) for operand in operands], attributes["axis"])


def _gather(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    indices = constant(operands[1])
    if indices.ndim != 1:
        raise ValueError("indices of several axes")
    return builder.call(builder.torch.index_select, operands[0], attributes.get("axis", 0), builder.tensor(indices))


def _softmax(builder: _TorchBuilder, operands: list[Operand], attributes: Attributes) -> Operand:
    return builder.call(builder.functional.softmax, operands[0], attributes.get("axis", -1))


OPERATOR_TRANSLATIONS: dict[str, Translation] = {
    "Add": _binary("add"),
    "AveragePool": _average_pool,
    "Cast": cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "DequantizeLinear": _dequantize,
    "Div": _binary("div"),
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _activation("hardswish"),
    "Identity": identity,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Mul": _binary("mul"),
    "QuantizeLinear": _quantize,
    "ReduceMean": _reduce_mean,
    "Relu": _activation("relu"),
    "Reshape": _reshape,
    "Sigmoid": _activation("sigmoid"),
    "Softmax": _softmax,
    "Squeeze": _squeeze,
    "Sub": _binary("sub"),
    "Tanh": _activation("tanh"),
    "Transpose": _transpose,
}
"""By ONNX operator."""
