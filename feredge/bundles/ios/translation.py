"""An ONNX graph as a program in Core ML's intermediate language (MIL), by coremltools' builder.

The table has the operators that the exporter and common converters write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

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

INPUT_NAME, OUTPUT_NAME = "image", "probabilities"


def build_program(model: Any, shape: tuple[int, int, int], opset: Any) -> Any:
    """Return the program of an ONNX model: from `image`, float32 (1, H, W, C) of 0 to 255, to `probabilities`.

    Args:
        model: `onnx.ModelProto`, its weights inside it.
        shape: height, width, channels.
        opset: of coremltools, as `coremltools.target.iOS16`.

    Raises:
        UnsupportedNetworkError: an operator without a translation, or one in a form that has none.
    """
    from coremltools.converters.mil import Builder

    output = model.graph.output[0].name

    def named_builder(node: Any, number: int) -> _Named:
        return _Named(Builder, OUTPUT_NAME if node.output[0] == output else f"n{number}_{node.op_type.lower()}")

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(1, *shape))], opset_version=opset)  # type: ignore[untyped-decorator]
    def program(image: Operand) -> Operand:
        return translate_graph(model.graph, image, OPERATOR_TRANSLATIONS, named_builder, "Core ML")

    return program


class _Named:
    """The builder, whose operations all get the name of their node: the same graph gives the same program."""

    def __init__(self, builder: Any, name: str) -> None:
        self._builder, self._name = builder, name

    def __getattr__(self, operation: str) -> Callable[..., Operand]:
        function = getattr(self._builder, operation)
        return lambda **inputs: function(name=self._name, **inputs)


def _binary(operation: str) -> Translation:
    return lambda builder, operands, _: getattr(builder, operation)(x=operands[0], y=operands[1])


def _activation(operation: str, **defaults: float) -> Translation:
    def translate(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
        parameters = {name: np.float32(attributes.get(name, value)) for name, value in defaults.items()}
        return getattr(builder, operation)(x=operands[0], **parameters)

    return translate


def _hard_swish(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
    gate = builder.sigmoid_hard(x=operands[0], alpha=np.float32(1 / 6), beta=np.float32(0.5))
    return builder.mul(x=operands[0], y=gate)


def _clip(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
    low, high = clip_bounds(operands, attributes)
    limits = np.finfo(np.float16)  # the program's precision
    smallest, largest = float(limits.min), float(limits.max)
    return builder.clip(
        x=operands[0],
        alpha=np.float32(smallest if low is None else max(low, smallest)),
        beta=np.float32(largest if high is None else min(high, largest)),
    )


def _window(attributes: Attributes) -> dict[str, Any]:
    """Return the padding and strides of a convolution or pooling; ONNX lists all borders before, then all after."""
    top, left, bottom, right = paddings(attributes)
    return {
        "strides": list(attributes.get("strides", (1, 1))),
        "pad_type": "custom",
        "pad": [top, bottom, left, right],
    }


def _conv(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
    bias = {"bias": constant(operands[2])} if len(operands) > 2 else {}
    return builder.conv(
        x=operands[0],
        weight=constant(operands[1]),
        dilations=list(attributes.get("dilations", (1, 1))),
        groups=attributes.get("group", 1),
        **bias,
        **_window(attributes),
    )


def _max_pool(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
    require_plain_max_pool(attributes)
    return builder.max_pool(x=operands[0], kernel_sizes=list(attributes["kernel_shape"]), **_window(attributes))


def _average_pool(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
    if attributes.get("ceil_mode"):
        raise ValueError("pooling with partial windows")
    return builder.avg_pool(
        x=operands[0],
        kernel_sizes=list(attributes["kernel_shape"]),
        exclude_padding_from_average=not attributes.get("count_include_pad"),
        **_window(attributes),
    )


def _reduce_mean(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
    axes = reduced_axes(operands, attributes)
    return builder.reduce_mean(x=operands[0], axes=axes, keep_dims=bool(attributes.get("keepdims", 1)))


def _global_average(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
    return builder.reduce_mean(x=operands[0], axes=[2, 3], keep_dims=True)


def _gemm(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
    require_plain_gemm(attributes)
    weight = constant(operands[1])
    bias = {"bias": constant(operands[2])} if len(operands) > 2 else {}
    return builder.linear(x=operands[0], weight=weight if attributes.get("transB") else weight.T.copy(), **bias)


def _reshape(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
    sizes = constant(operands[1]).tolist()
    if 0 in sizes:  # the input's own size
        sizes = [operands[0].shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return builder.reshape(x=operands[0], shape=sizes)


def _flatten(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
    require_plain_flatten(attributes)
    return builder.reshape(x=operands[0], shape=[1, -1])


def _squeeze(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
    return builder.squeeze(x=operands[0], axes=reduced_axes(operands, attributes))


def _transpose(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
    return builder.transpose(x=operands[0], perm=list(attributes["perm"]))


def _concat(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
    return builder.concat(values=operands, axis=attributes["axis"])


def _softmax(builder: _Named, operands: list[Operand], attributes: Attributes) -> Operand:
    return builder.softmax(x=operands[0], axis=attributes.get("axis", -1))


OPERATOR_TRANSLATIONS: dict[str, Translation] = {
    "Add": _binary("add"),
    "AveragePool": _average_pool,
    "Cast": cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Div": _binary("real_div"),
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "HardSigmoid": _activation("sigmoid_hard", alpha=0.2, beta=0.5),
    "HardSwish": _hard_swish,
    "Identity": identity,
    "LeakyRelu": _activation("leaky_relu", alpha=0.01),
    "MatMul": _binary("matmul"),
    "MaxPool": _max_pool,
    "Mul": _binary("mul"),
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
