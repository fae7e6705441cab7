"""The Keras network that grows while a graph is read, and the one place where axes are put in another order.

ONNX networks are mostly channels-first, and Keras layers here are channels-last. A `Value` says which ONNX axis each
axis of its Keras tensor holds. So a Transpose changes labels only, and data are permuted only where a layer needs
another order than the one that a tensor has.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from feredge.importing.onnx.graph import Node, OnnxGraph, UnsupportedOperatorError
from feredge.keras import KerasLayer, Tensor, keras

layers = keras.layers

FOLDABLE_LAYERS = (
    layers.Conv2D,
    layers.DepthwiseConv2D,
    layers.Dense,
    layers.BatchNormalization,
    layers.LayerNormalization,
)
"""Layers whose output can be scaled and shifted per channel through their weights."""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph in the Keras network.

    Attributes:
        tensor: the Keras tensor; axis 0 is the batch.
        axes: the ONNX axis that each of its axes holds.
        features: of a flattened tensor, the ONNX index of each of its features; None where the order is the same.
        shared: whether another tensor of the graph is the same Keras tensor, and is read too.
    """

    tensor: Tensor
    axes: tuple[int, ...]
    features: NDArray[np.int64] | None = None
    shared: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions in ONNX's order, with 0 for the batch."""
        sizes = dict(zip(self.axes, self.tensor.shape, strict=True))
        return (0, *(int(sizes[axis]) for axis in range(1, len(self.axes))))


class NetworkBuilder:
    """Keras layers for the nodes of a graph.

    Attributes:
        graph: the graph that is read.
        values: the tensors that were translated, by name.
    """

    def __init__(self, graph: OnnxGraph, pixels: Value) -> None:
        self.graph = graph
        self.values = {graph.input: pixels}
        self._consumer_counts = graph.consumer_counts
        self._layer_names: set[str] = set()

    def layer(self, layer_class: type, node: Node, *inputs: Tensor, suffix: str = "", **config: Any) -> Tensor:
        """Return the output of a new layer, named after `node`. `weights` in `config` are set."""
        weights = config.pop("weights", None)
        layer = layer_class(name=self._layer_name(node, suffix), **config)
        output = layer(inputs[0] if len(inputs) == 1 else list(inputs))
        if weights is not None:
            layer.set_weights([np.asarray(weight, np.float32) for weight in weights])
        return output

    def _layer_name(self, node: Node, suffix: str) -> str:
        name = re.sub(r"[^A-Za-z0-9]+", "_", node.name).strip("_").removesuffix("_output_0")
        name = name.replace("kernel", "k")  # variables with `kernel` in their names are pruned
        base = name = f"{name if name[:1].isalpha() else node.operator + name}{suffix}"
        while name in self._layer_names:
            name = f"{base}_{len(self._layer_names)}"
        self._layer_names.add(name)
        return name

    def value(self, node: Node, position: int = 0) -> Value:
        """Return an input of `node` that is computed."""
        name = node.inputs[position]
        if name not in self.values:
            raise UnsupportedOperatorError(node, f"a constant as input {position}")
        return self.values[name]

    def constant(self, node: Node, position: int) -> NDArray[Any]:
        """Return an input of `node` that must be constant."""
        name = node.inputs[position] if position < len(node.inputs) else ""
        if name not in self.graph.constants:
            raise UnsupportedOperatorError(node, f"input {position} not constant")
        return self.graph.constants[name]

    def argument(self, node: Node, attribute: str, position: int, default: Any = None) -> Any:
        """Return an argument that is an attribute in some opsets and a constant input in others, as a list."""
        if attribute in node.attributes:
            value = node.attributes[attribute]
        elif position < len(node.inputs) and node.inputs[position]:
            value = self.constant(node, position).tolist()
        else:
            return default
        return [*value] if isinstance(value, list | tuple) else [value]

    def is_private(self, name: str) -> bool:
        """Return whether a tensor is read once, so that the layer that computes it may change."""
        return self._consumer_counts[name] == 1 and not self.values[name].shared

    def alias(self, node: Node, **changes: Any) -> Value:
        """Return the first input of `node` as its output: the same Keras tensor."""
        return dataclasses.replace(self.value(node), shared=not self.is_private(node.inputs[0]), **changes)

    def ordered(self, value: Value, axes: Sequence[int], node: Node) -> Value:
        """Return a value with its axes in another order."""
        axes = tuple(axes)
        if axes == value.axes:
            return value
        order = [value.axes.index(axis) for axis in axes]
        shape = [int(value.tensor.shape[axis]) for axis in order[1:]]
        moved = [axis for axis in order if axis and value.tensor.shape[axis] != 1]
        if moved == sorted(moved):  # only axes of size 1 move
            return Value(self.layer(layers.Reshape, node, value.tensor, suffix="_shape", target_shape=shape), axes)
        return Value(self.layer(layers.Permute, node, value.tensor, suffix="_order", dims=order[1:]), axes)

    def channels_last(self, value: Value, node: Node, axis: int = 1) -> Value:
        """Return a value with an ONNX axis, of the channels, as the last of its Keras tensor."""
        axis %= len(value.axes)
        if value.axes[-1] == axis:
            return value
        return self.ordered(value, (*(other for other in range(len(value.axes)) if other != axis), axis), node)

    def image(self, node: Node) -> Tensor:
        """Return the first input of `node`, which must be feature maps, in the order (N, H, W, C)."""
        value = self.value(node)
        if len(value.axes) != 4:
            raise UnsupportedOperatorError(node, f"an input of {len(value.axes)} axes")
        return self.ordered(value, (0, 2, 3, 1), node).tensor

    def affine(self, node: Node, position: int, scale: ArrayLike, shift: ArrayLike) -> Value:
        """Return scale * input + shift.

        Args:
            node: the node.
            position: of the input.
            scale, shift: constants that can be broadcast to the input, in ONNX's order of axes.
        """
        value = self.value(node, position)
        rank = len(value.axes)
        if max(np.ndim(scale), np.ndim(shift)) > rank:
            raise UnsupportedOperatorError(node, "a constant of more axes than its input")
        constants = [
            np.asarray(values, np.float32).reshape((1,) * (rank - np.ndim(values)) + np.shape(values))
            for values in (scale, shift)
        ]
        varying = {axis for values in constants for axis in range(rank) if values.shape[axis] > 1}
        if len(varying) > 1 or 0 in varying:
            raise UnsupportedOperatorError(node, "a constant that differs between pixels")
        if varying:
            value = self.channels_last(value, node, varying.pop())
        channels = int(value.tensor.shape[-1])
        if any(values.size not in (1, channels) for values in constants):
            raise UnsupportedOperatorError(node, "a constant that widens its input")
        gain, offset = (np.broadcast_to(values.ravel(), channels) for values in constants)
        if value.features is not None:
            gain, offset = gain[value.features], offset[value.features]
        if self.is_private(node.inputs[position]) and _fold(value.tensor._keras_history.layer, gain, offset):
            return value
        if all(values.size == 1 for values in constants):
            tensor = self.rescaled(node, value.tensor, float(gain[0]), float(offset[0]))
            return dataclasses.replace(value, tensor=tensor, shared=tensor is value.tensor)
        epsilon = 1e-3
        weights = [gain, offset, np.zeros(channels), np.full(channels, 1 - epsilon)]
        tensor = self.layer(layers.BatchNormalization, node, value.tensor, weights=weights, epsilon=epsilon)
        return dataclasses.replace(value, tensor=tensor, shared=False)

    def rescaled(self, node: Node, tensor: Tensor, scale: float, offset: float, suffix: str = "") -> Tensor:
        """Return scale * tensor + offset: a layer for each, so that quantization-aware training sees both results."""
        if scale != 1:
            tensor = self.layer(layers.Rescaling, node, tensor, suffix=f"{suffix}_scale", scale=scale)
        if offset:
            tensor = self.layer(layers.Rescaling, node, tensor, suffix=f"{suffix}_offset", scale=1.0, offset=offset)
        return tensor

    def reshape(self, node: Node, target: Sequence[int]) -> Value:
        """Return the first input of `node` with other dimensions.

        Args:
            node: the node.
            target: dimensions in ONNX's order without the batch, at most one of them -1.
        """
        value = self.value(node)
        source, target = value.shape[1:], list(target)
        if -1 in target:
            known = math.prod(size for size in target if size != -1)
            target[target.index(-1)] = math.prod(source) // max(known, 1)
        if math.prod(source) != math.prod(target) or min(target, default=1) < 1:
            raise UnsupportedOperatorError(node, f"the shape {target} for an image's {[*source]}")
        if value.features is None and (axes := _split_axes(value, target)) is not None:
            return self._reshaped(node, value, target, axes)
        if len(target) == 1 and value.features is None and self._feeds_dense_layers(node.outputs[0]):
            features = np.arange(math.prod(source)).reshape(source).transpose([axis - 1 for axis in value.axes[1:]])
            return Value(self.layer(layers.Flatten, node, value.tensor), (0, 1), features.ravel())
        if value.features is not None:
            raise UnsupportedOperatorError(node, "an input that was flattened before")
        value = self.ordered(value, range(len(value.axes)), node)
        return self._reshaped(node, value, target, tuple(range(len(target) + 1)))

    def _reshaped(self, node: Node, value: Value, target: list[int], axes: tuple[int, ...]) -> Value:
        shape = [target[axis - 1] for axis in axes[1:]]
        if shape == [int(size) for size in value.tensor.shape[1:]]:
            return self.alias(node, axes=axes)
        layer = value.tensor._keras_history.layer
        if isinstance(layer, layers.GlobalAveragePooling2D | layers.GlobalMaxPooling2D) and len(shape) == 1:
            return Value(self.layer(type(layer), node, layer.input), axes)
        if len(shape) == 1:
            return Value(self.layer(layers.Flatten, node, value.tensor), axes)
        return Value(self.layer(layers.Reshape, node, value.tensor, target_shape=shape), axes)

    def _feeds_dense_layers(self, name: str) -> bool:
        """Return whether dense layers alone read a tensor, directly or through operators on single elements."""
        if name == self.graph.output:
            return False
        for node in self.graph.nodes:
            if name not in node.inputs:
                continue
            if node.operator in ("Gemm", "MatMul") and node.inputs[0] == name:
                continue
            if node.operator not in ("Identity", "Dropout", "Cast", "Relu", "Clip", "Sigmoid", "Tanh", "Elu"):
                return False
            if not self._feeds_dense_layers(node.outputs[0]):
                return False
        return True


def _split_axes(value: Value, target: list[int]) -> tuple[int, ...] | None:
    """Return the ONNX axes of a reshaped tensor in Keras's order; None if the reshape needs another order first.

    It needs none if the axes that it joins or divides lie side by side, as height and width do in NHWC. Axes of size 1
    can be anywhere: those that were there keep their place, so that gray pixels from NHWC to NCHW are the same tensor,
    and new ones come first, so that (N, C) becomes (N, 1, 1, C).
    """
    source = value.shape
    sources = [axis for axis in range(1, len(source)) if source[axis] != 1]
    targets = [axis for axis in range(1, len(target) + 1) if target[axis - 1] != 1]
    joined: dict[int, tuple[list[int], list[int]]] = {}
    while sources:
        left, right = [sources.pop(0)], [targets.pop(0)]
        while (sizes := (math.prod(source[i] for i in left), math.prod(target[i - 1] for i in right))) and (
            sizes[0] != sizes[1]
        ):
            if sizes[0] < sizes[1]:
                left.append(sources.pop(0))
            else:
                right.append(targets.pop(0))
        joined[left[0]] = left, right
    order = [axis for axis in value.axes[1:] if source[axis] != 1]
    ones = [axis for axis in range(1, len(target) + 1) if target[axis - 1] == 1]
    axes: list[int] = []
    for axis in value.axes[1:]:
        if source[axis] == 1:
            axes += ones[:1]
            ones = ones[1:]
        elif order and axis == order[0]:
            left, right = joined.get(axis, ([], []))
            if not left or order[: len(left)] != left:
                return None
            axes += right
            order = order[len(left) :]
    return (0, *ones, *axes)


def _fold(layer: KerasLayer, gain: NDArray[Any], offset: NDArray[Any]) -> bool:
    """Scale and shift a layer's output through its weights; return whether that is possible."""
    if type(layer) not in FOLDABLE_LAYERS or len(layer.weights) < 2:  # no bias
        return False
    weight, shift, *rest = layer.get_weights()
    factor = gain.reshape(weight.shape[-2:]) if type(layer) is layers.DepthwiseConv2D else gain
    layer.set_weights([weight * factor, shift * gain + offset, *rest])
    return True
