"""The walk over an ONNX graph that translates it to another framework, by a table of operators.

Of a batch of one image, `(1, C, H, W)`. The table's functions get constants as numpy arrays, and what the framework
computes as its own variables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import UnsupportedNetworkError, one_line

Attributes = dict[str, Any]
Operand = Any
"""A variable of the framework, a constant numpy array, or None for an input that is absent."""
Translation = Callable[[Any, list[Operand], Attributes], Operand]
"""Of one operator: from the framework's builder, the operands and the attributes, to its result."""


def translate_graph(
    graph: Any,
    image: Operand,
    translations: Mapping[str, Translation],
    builder: Callable[[Any, int], Any],
    framework: str,
) -> Operand:
    """Return the variable of a graph's output.

    Args:
        graph: `onnx.GraphProto`, its weights inside it.
        image: the variable of the input.
        translations: by ONNX operator.
        builder: what a node's translation gets as its builder, from the node and its number.
        framework: for messages.

    Raises:
        UnsupportedNetworkError: an operator without a translation, or one in a form that has none.
    """
    from onnx import helper, numpy_helper

    unknown = sorted({node.op_type for node in graph.node} - translations.keys())
    if unknown:
        raise UnsupportedNetworkError(f"expected ONNX operators that {framework} has, found {', '.join(unknown):.200}")
    values: dict[str, Operand] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    values[graph.input[0].name] = image
    for number, node in enumerate(graph.node):
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        operands = [values[operand] if operand else None for operand in node.input]
        try:
            values[node.output[0]] = translations[node.op_type](builder(node, number), operands, attributes)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise UnsupportedNetworkError(
                f"{node.op_type} {node.name!r:.60}: expected a form that {framework} has, found another "
                f"({one_line(error)})"
            ) from error
    return values[graph.output[0].name]


def identity(builder: Any, operands: list[Operand], attributes: Attributes) -> Operand:
    """Translate an operator whose result is its operand."""
    return operands[0]


def cast(builder: Any, operands: list[Operand], attributes: Attributes) -> Operand:
    """Translate Cast to float32, the type of every variable.

    Raises:
        ValueError: another type.
    """
    if attributes["to"] != 1:
        raise ValueError("a cast to another type than float32")
    operand = operands[0]
    return operand.astype(np.float32) if isinstance(operand, np.ndarray) else operand


def constant(operand: Operand) -> NDArray[Any]:
    """Return a constant; ValueError for a variable."""
    if not isinstance(operand, np.ndarray):
        raise ValueError("a computed operand where a constant is needed")
    return operand


def reduced_axes(operands: list[Operand], attributes: Attributes) -> list[int]:
    """Return the axes of ReduceMean or Squeeze: an attribute, or in later opsets an operand."""
    return list(attributes["axes"] if "axes" in attributes else constant(operands[1]).tolist())


def paddings(attributes: Attributes) -> tuple[int, int, int, int]:
    """Return the padding of a convolution or pooling: top, left, bottom, right.

    Raises:
        ValueError: automatic padding.
    """
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ValueError("automatic padding")
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    return top, left, bottom, right


def clip_bounds(operands: list[Operand], attributes: Attributes) -> tuple[float | None, float | None]:
    """Return the bounds of Clip: attributes, or in later opsets operands; None for no bound."""
    low, high = [None if operand is None else constant(operand).item() for operand in (*operands[1:], None, None)][:2]
    return attributes.get("min", low), attributes.get("max", high)


def require_plain_gemm(attributes: Attributes) -> None:
    """Raise ValueError unless Gemm is `input @ weight + bias`."""
    if attributes.get("transA") or attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
        raise ValueError("Gemm with factors, or of a transposed input")


def require_plain_max_pool(attributes: Attributes) -> None:
    """Raise ValueError for dilated pooling, or one with partial windows."""
    if set(attributes.get("dilations", (1,))) != {1} or attributes.get("ceil_mode"):
        raise ValueError("dilated pooling, or one with partial windows")


def require_plain_flatten(attributes: Attributes) -> None:
    """Raise ValueError unless Flatten keeps the first axis alone."""
    if attributes.get("axis", 1) != 1:
        raise ValueError("another axis than 1")
