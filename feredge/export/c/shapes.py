"""The shape of every operator's output, computed from its inputs and compared with the file's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from feredge.errors import ArtifactError

if TYPE_CHECKING:
    from feredge.export.c.model import Model, Operator, Tensor

SAME_PADDING = 0
ELEMENT_LIMIT = 1 << 23
"""Elements of a tensor: sums of so many int8 values fit into 32 bits."""

Shape = tuple[int, ...]


def check_shapes(model: Model) -> None:
    """Raise ArtifactError unless every operator's shapes fit: generated C trusts them."""
    for tensor in model.tensors:
        if tensor.size > ELEMENT_LIMIT:
            raise ArtifactError(f"expected tensors of at most {ELEMENT_LIMIT:,} elements, found {tensor.size:,}")
    for number, operator in enumerate(model.operators):
        actual = model.result(operator).shape
        expected = _SHAPES[operator.name](model, operator)
        if expected != actual:
            raise ArtifactError(
                f"operator {number} {operator.name}: expected an output of shape "
                f"{expected or 'that its inputs allow'}, found {actual}"
            )


def padding_before(size: int, output: int, kernel: int, stride: int) -> int:
    """Return the padding at the start of an axis, for either scheme: 0 where none is needed."""
    return max((output - 1) * stride + kernel - size, 0) // 2


def _window_output(operator: Operator, shape: Shape, kernel: tuple[int, int]) -> tuple[int, int] | None:
    """Return height and width of a convolution's or pooling's output; None where it cannot have one."""
    options = operator.options
    if len(shape) != 4 or max(options.get("dilation_h", 1), options.get("dilation_w", 1)) > 1:
        return None
    strides = options["stride_h"], options["stride_w"]
    if options.get("padding", 0) == SAME_PADDING:
        return -(-shape[1] // strides[0]), -(-shape[2] // strides[1])
    if shape[1] < kernel[0] or shape[2] < kernel[1]:
        return None
    return (shape[1] - kernel[0]) // strides[0] + 1, (shape[2] - kernel[1]) // strides[1] + 1


def _bias_fits(model: Model, operator: Operator, channels: int) -> bool:
    weights = model.operand(operator, 1)
    has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
    return len(weights.scales) in (1, channels) and (not has_bias or model.operand(operator, 2).shape == (channels,))


def _convolution(model: Model, operator: Operator) -> Shape | None:
    shape, weights = model.operand(operator).shape, model.operand(operator, 1).shape
    if len(weights) != 4 or len(shape) != 4 or weights[3] != shape[3] or not _bias_fits(model, operator, weights[0]):
        return None
    window = _window_output(operator, shape, weights[1:3])
    return window and (shape[0], *window, weights[0])


def _depthwise(model: Model, operator: Operator) -> Shape | None:
    shape, weights = model.operand(operator).shape, model.operand(operator, 1).shape
    if len(weights) != 4 or len(shape) != 4 or weights[0] != 1 or weights[3] % shape[3]:
        return None
    window = _window_output(operator, shape, weights[1:3])
    return (shape[0], *window, weights[3]) if window and _bias_fits(model, operator, weights[3]) else None


def _fully_connected(model: Model, operator: Operator) -> Shape | None:
    shape, weights = model.operand(operator).shape, model.operand(operator, 1).shape
    if operator.options.get("weights_format", 0) or len(weights) != 2 or not _bias_fits(model, operator, weights[0]):
        return None
    return (1, weights[0]) if math.prod(shape) == weights[1] else None


def _pool(model: Model, operator: Operator) -> Shape | None:
    shape = model.operand(operator).shape
    window = _window_output(operator, shape, (operator.options["filter_height"], operator.options["filter_width"]))
    return window and (shape[0], *window, shape[3])


def repeats_first(first: Tensor, second: Tensor) -> bool:
    """Return whether it is the first of two operands that is a constant, or is repeated to the other's shape."""
    if (first.data is None) != (second.data is None):
        return first.data is not None
    return first.size < second.size


def _broadcast(model: Model, operator: Operator) -> Shape | None:
    """Two tensors of one shape, or one of them of one value per channel, or a constant of one value."""
    first, second = (model.operand(operator, position) for position in (0, 1))
    if first.shape == second.shape:
        return first.shape
    repeated, other = (first, second) if repeats_first(first, second) else (second, first)
    repeats = repeated.size == (repeated.shape or (1,))[-1]
    sizes = (other.shape[-1],) if repeated.data is None else (1, other.shape[-1])
    fits = other.data is None and repeated.size in sizes and len(repeated.shape) <= len(other.shape)
    return other.shape if repeats and fits else None


def _mean(model: Model, operator: Operator) -> Shape | None:
    shape, axes = model.operand(operator).shape, model.operand(operator, 1).data
    if len(shape) != 4 or axes is None or sorted(int(axis) % 4 for axis in axes.ravel()) != [1, 2]:
        return None
    return (shape[0], 1, 1, shape[3]) if operator.options.get("keep_dims") else (shape[0], shape[3])


def _pad(model: Model, operator: Operator) -> Shape | None:
    shape, paddings = model.operand(operator).shape, model.operand(operator, 1).data
    if len(shape) != 4 or paddings is None or paddings.shape != (4, 2) or (paddings < 0).any():
        return None
    if paddings[[0, 3]].any() or (paddings > ELEMENT_LIMIT).any():
        return None
    return tuple(size + int(pair.sum()) for size, pair in zip(shape, paddings, strict=True))


def _reshape(model: Model, operator: Operator) -> Shape | None:
    """Any shape of as many elements: an operator reads the data, not this shape."""
    shape = model.result(operator).shape
    return shape if math.prod(shape) == model.operand(operator).size else None


def _concatenation(model: Model, operator: Operator) -> Shape | None:
    shapes = [model.operand(operator, position).shape for position in range(len(operator.inputs))]
    axis = operator.options.get("axis", 0)
    if operator.options.get("activation", 0) or axis not in (-1, len(shapes[0]) - 1):
        return None
    if len({shape[:-1] for shape in shapes}) != 1:
        return None
    return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


def _same(model: Model, operator: Operator) -> Shape:
    return model.operand(operator).shape


_SHAPES = {
    "ADD": _broadcast,
    "AVERAGE_POOL_2D": _pool,
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _same,
    "ELU": _same,
    "FULLY_CONNECTED": _fully_connected,
    "LOGISTIC": _same,
    "MAX_POOL_2D": _pool,
    "MEAN": _mean,
    "MUL": _broadcast,
    "PAD": _pad,
    "QUANTIZE": _same,
    "RELU": _same,
    "RELU6": _same,
    "RELU_N1_TO_1": _same,
    "RESHAPE": _reshape,
    "SOFTMAX": _same,
}
