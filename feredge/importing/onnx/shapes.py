"""Operators that move data only: reshaping, concatenation, splits, padding."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from feredge.importing.onnx.convolutions import NHWC
from feredge.importing.onnx.graph import Node, UnsupportedOperatorError
from feredge.importing.onnx.network_builder import NetworkBuilder, Value
from feredge.keras import keras

layers = keras.layers


def identity(node: Node, network: NetworkBuilder) -> Value:
    """Identity, and operators that are one in inference: Dropout, and Cast between floating-point types."""
    return network.alias(node)


def transpose(node: Node, network: NetworkBuilder) -> Value:
    """Transpose: other labels on the same axes."""
    value = network.value(node)
    order = [*node.attributes.get("perm", range(len(value.axes))[::-1])]
    if order[0] != 0 or value.features is not None:
        raise UnsupportedOperatorError(node, f"the order {order}")
    return network.alias(node, axes=tuple(order.index(axis) for axis in value.axes))


def reshape(node: Node, network: NetworkBuilder) -> Value:
    """Reshape, which keeps the batch."""
    source = network.value(node).shape
    target = network.argument(node, "shape", 1)
    if not node.attributes.get("allowzero", 0):
        target = [source[axis] if size == 0 and axis < len(source) else size for axis, size in enumerate(target)]
    per_image = math.prod(source[1:])
    keeps_batch = target[0] in (0, network.graph.input_shape[0]) or math.prod(target[1:]) == per_image
    if len(target) < 2 or not keeps_batch:
        raise UnsupportedOperatorError(node, f"the shape {target}, which does not keep the batch")
    return network.reshape(node, target[1:])


def flatten(node: Node, network: NetworkBuilder) -> Value:
    """Flatten of all axes but the batch."""
    value = network.value(node)
    if node.attributes.get("axis", 1) % len(value.axes) != 1:
        raise UnsupportedOperatorError(node, f"axis {node.attributes['axis']}")
    if len(value.axes) == 2:
        return network.alias(node)
    return network.reshape(node, [math.prod(value.shape[1:])])


def squeeze(node: Node, network: NetworkBuilder) -> Value:
    """Squeeze of axes of size 1."""
    shape = network.value(node).shape
    ones = [axis for axis in range(1, len(shape)) if shape[axis] == 1]
    axes = [axis % len(shape) for axis in network.argument(node, "axes", 1, ones)]
    if 0 in axes:
        raise UnsupportedOperatorError(node, f"axes {axes}")
    return network.reshape(node, [size for axis, size in enumerate(shape) if axis and axis not in axes])


def unsqueeze(node: Node, network: NetworkBuilder) -> Value:
    """Unsqueeze: new axes of size 1."""
    shape = [*network.value(node).shape]
    axes = network.argument(node, "axes", 1)
    for axis in sorted(axis % (len(shape) + len(axes)) for axis in axes):
        shape.insert(axis, 1)
    if shape[0] != 0:
        raise UnsupportedOperatorError(node, f"axes {axes}")
    return network.reshape(node, shape[1:])


def concat(node: Node, network: NetworkBuilder) -> Value:
    """Concat: Concatenate."""
    value = network.value(node)
    axis = node.attributes["axis"] % len(value.axes)
    if axis == 0 or value.features is not None:
        raise UnsupportedOperatorError(node, f"axis {axis}")
    values = [network.value(node, position) for position in range(len(node.inputs))]
    if any(len(other.axes) != len(value.axes) or other.features is not None for other in values):
        raise UnsupportedOperatorError(node, "inputs of several ranks")
    tensors = [network.ordered(other, value.axes, node).tensor for other in values]
    if len(tensors) == 1:
        return network.alias(node)
    return Value(network.layer(layers.Concatenate, node, *tensors, axis=value.axes.index(axis)), value.axes)


def split(node: Node, network: NetworkBuilder) -> list[Value]:
    """Split along one axis."""
    value, count = network.value(node), len(node.outputs)
    axis = node.attributes.get("axis", 0) % len(value.axes)
    length = value.shape[axis]
    equal = [min(-(-length // count), length - start) for start in range(0, length, max(-(-length // count), 1))]
    sizes = network.argument(node, "split", 1, equal)
    if len(sizes) != count or sum(sizes) != length:
        raise UnsupportedOperatorError(node, f"sizes {sizes} of {length}")
    starts = [sum(sizes[:index]) for index in range(count)]
    return [_crop(node, network, value, axis, start, start + size) for start, size in zip(starts, sizes, strict=True)]


def slice_(node: Node, network: NetworkBuilder) -> Value:
    """Slice with steps of 1, or of feature maps with others too."""
    value = network.value(node)
    starts, ends = network.argument(node, "starts", 1), network.argument(node, "ends", 2)
    axes = [axis % len(value.axes) for axis in network.argument(node, "axes", 3, range(len(starts)))]
    steps = network.argument(node, "steps", 4, [1] * len(starts))
    for axis, start, end in zip(axes, starts, ends, strict=True):
        length = value.shape[axis]
        start, end = (min(max(bound + length if bound < 0 else bound, 0), length) for bound in (start, end))
        value = _crop(node, network, value, axis, start, end)
    if set(steps) == {1}:
        return value
    step_of = dict(zip(axes, steps, strict=True))
    strides = [step_of.pop(axis, 1) for axis in (2, 3)]
    if len(value.axes) != 4 or min(strides) < 1 or set(step_of.values()) - {1}:
        raise UnsupportedOperatorError(node, f"steps {steps}")
    image = network.ordered(value, NHWC, node).tensor
    return Value(network.layer(layers.MaxPooling2D, node, image, suffix="_steps", pool_size=1, strides=strides), NHWC)


def _crop(node: Node, network: NetworkBuilder, value: Value, axis: int, start: int, end: int) -> Value:
    """Return `start` up to `end` of one axis: a Cropping2D of a view with that axis as its second."""
    length = value.shape[axis]
    if axis == 0 or not 0 <= start < end or value.features is not None:
        raise UnsupportedOperatorError(node, f"{start}:{end} of axis {axis}")
    if (start, end) == (0, length):
        return dataclasses.replace(value, shared=True)
    position = value.axes.index(axis)
    shape = [int(size) for size in value.tensor.shape[1:]]
    view = [math.prod(shape[: position - 1]), length, math.prod(shape[position:])]
    cropped = [*shape[: position - 1], end - start, *shape[position:]]
    tensor = network.layer(layers.Reshape, node, value.tensor, suffix="_view", target_shape=view)
    cropping = ((0, 0), (start, length - end))
    tensor = network.layer(layers.Cropping2D, node, tensor, suffix="_crop", cropping=cropping)
    return Value(network.layer(layers.Reshape, node, tensor, target_shape=cropped), value.axes)


def pad(node: Node, network: NetworkBuilder) -> Value:
    """Pad of height and width with zeros: ZeroPadding2D, or Cropping2D where it is negative."""
    image = network.image(node)
    pads = network.argument(node, "pads", 1)
    axes = [axis % 4 for axis in network.argument(node, "axes", 3, range(4))]
    sides: dict[int, Any] = {axis: (pads[index], pads[index + len(axes)]) for index, axis in enumerate(axes)}
    fill = network.argument(node, "value", 2, [0])[0]
    constant = bytes(node.attributes.get("mode", b"constant")) == b"constant"
    if not constant or fill or any(any(sides.get(axis, ())) for axis in (0, 1)):
        raise UnsupportedOperatorError(node, "other padding than zeros around height and width")
    padding = [sides.get(axis, (0, 0)) for axis in (2, 3)]
    added = [[max(count, 0) for count in side] for side in padding]
    removed = [[max(-count, 0) for count in side] for side in padding]
    if any(map(any, added)):
        image = network.layer(layers.ZeroPadding2D, node, image, padding=added)
    if any(map(any, removed)):
        image = network.layer(layers.Cropping2D, node, image, suffix="_crop", cropping=removed)
    return Value(image, NHWC)
