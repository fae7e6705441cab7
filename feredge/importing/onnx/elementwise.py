"""Activations, arithmetic and normalization."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from feredge.importing.onnx.graph import Node, UnsupportedOperatorError
from feredge.importing.onnx.network_builder import NetworkBuilder, Value
from feredge.keras import keras

layers = keras.layers

ACTIVATIONS = {
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Selu": "selu",
    "Mish": "mish",
    "Swish": "swish",
}
"""The Keras function of each activation without a layer of its own."""


def activation(node: Node, network: NetworkBuilder) -> Value:
    """An operator on single elements with a Keras activation or layer."""
    layer_class, config = _activation_layer(node)
    value = network.value(node)
    return dataclasses.replace(value, tensor=network.layer(layer_class, node, value.tensor, **config), shared=False)


def _activation_layer(node: Node) -> tuple[type, dict[str, Any]]:
    attributes = node.attributes
    if node.operator == "Relu":
        return layers.ReLU, {}
    if node.operator == "LeakyRelu":
        return layers.LeakyReLU, {"alpha": attributes.get("alpha", 0.01)}
    if node.operator == "Elu":
        return layers.ELU, {"alpha": attributes.get("alpha", 1.0)}
    if node.operator == "Gelu":
        if bytes(attributes.get("approximate", b"none")) != b"none":
            raise UnsupportedOperatorError(node, "a tanh approximation")
        return layers.Activation, {"activation": "gelu"}
    if attributes.keys() & {"alpha", "gamma"} and node.operator != "Selu":
        raise UnsupportedOperatorError(node, f"{', '.join(attributes)}")
    return layers.Activation, {"activation": ACTIVATIONS[node.operator]}


def prelu(node: Node, network: NetworkBuilder) -> Value:
    """PRelu: PReLU, with a slope per channel."""
    slope = network.constant(node, 1)
    value = network.channels_last(network.value(node), node)
    rank = len(value.axes)
    slope = slope.reshape((1,) * (rank - slope.ndim) + slope.shape)
    channels = int(value.tensor.shape[-1])
    if value.features is not None or slope.size not in (1, channels) or slope.size != slope.shape[1]:
        raise UnsupportedOperatorError(node, f"a slope of shape {slope.shape}")
    weights = [np.broadcast_to(slope.ravel(), channels).reshape((1,) * (rank - 2) + (channels,))]
    shared_axes = [*range(1, rank - 1)]
    tensor = network.layer(layers.PReLU, node, value.tensor, weights=weights, shared_axes=shared_axes or None)
    return Value(tensor, value.axes)


def clip(node: Node, network: NetworkBuilder) -> Value:
    """Clip: ReLU, shifted where the minimum is not 0."""
    low, high = (network.argument(node, name, position, [None])[0] for position, name in ((1, "min"), (2, "max")))
    if low is None:
        raise UnsupportedOperatorError(node, "no minimum")
    maximum = None if high is None or high > np.finfo(np.float32).max / 2 else float(high) - float(low)
    value = network.value(node) if not low else network.affine(node, 0, 1.0, -float(low))
    tensor = network.layer(layers.ReLU, node, value.tensor, suffix="_relu", max_value=maximum)
    tensor = network.rescaled(node, tensor, 1.0, float(low))
    return dataclasses.replace(value, tensor=tensor, shared=False)


def hard_sigmoid(node: Node, network: NetworkBuilder) -> Value:
    """HardSigmoid: a ReLU with a maximum of 6, between scalings that TFLite's converter recognizes."""
    value = network.value(node)
    alpha, beta = (node.attributes.get(name, default) for name, default in (("alpha", 0.2), ("beta", 0.5)))
    tensor = network.rescaled(node, value.tensor, _exact(6 * alpha), _exact(6 * beta))
    tensor = network.layer(layers.ReLU, node, tensor, suffix="_relu6", max_value=6.0)
    tensor = network.rescaled(node, tensor, 1 / 6, 0.0, suffix="_gate")
    return dataclasses.replace(value, tensor=tensor, shared=False)


def _exact(value: float) -> float:
    """Return a whole number where a float32's rounding is all that differs: 6 * float32(1/6) is 1."""
    return float(round(value)) if abs(value - round(value)) < 1e-6 else value


def hard_swish(node: Node, network: NetworkBuilder) -> Value:
    """HardSwish: x * HardSigmoid(x)."""
    value = network.value(node)
    gate = hard_sigmoid(dataclasses.replace(node, attributes={"alpha": 1 / 6, "beta": 0.5}), network)
    tensor = network.layer(layers.Multiply, node, value.tensor, gate.tensor, suffix="_product")
    return dataclasses.replace(value, tensor=tensor, shared=False)


def softmax(node: Node, network: NetworkBuilder) -> Value:
    """Softmax over one axis."""
    value = network.value(node)
    rank = len(value.axes)
    axis = node.attributes.get("axis", -1 if rank == 2 else None)
    if axis is None or value.features is not None:
        raise UnsupportedOperatorError(node, f"{rank} axes")
    tensor = network.layer(layers.Softmax, node, value.tensor, axis=value.axes.index(axis % rank))
    return Value(tensor, value.axes)


def log_softmax(node: Node, network: NetworkBuilder) -> Value:
    """LogSoftmax as the last operator: a Softmax, as the import needs probabilities; see `run_original`."""
    if node.outputs[0] != network.graph.output:
        raise UnsupportedOperatorError(node, "operators after it")
    return softmax(node, network)


def batch_normalization(node: Node, network: NetworkBuilder) -> Value:
    """BatchNormalization in inference."""
    value = network.value(node)
    weights = [network.constant(node, position) for position in range(1, 5)]
    epsilon = node.attributes.get("epsilon", 1e-5)
    if value.features is not None:
        weights = [values[value.features] for values in weights]
    value = network.channels_last(value, node)
    tensor = network.layer(layers.BatchNormalization, node, value.tensor, weights=weights, epsilon=epsilon)
    return dataclasses.replace(value, tensor=tensor, shared=False)


def layer_normalization(node: Node, network: NetworkBuilder) -> Value:
    """LayerNormalization over one axis."""
    value = network.value(node)
    rank, axis = len(value.axes), node.attributes.get("axis", -1)
    if value.features is not None or ("axes" not in node.attributes and axis % rank != rank - 1):
        raise UnsupportedOperatorError(node, f"axis {axis} of {rank}")
    value = network.channels_last(value, node, axis=axis)
    channels = int(value.tensor.shape[-1])
    gamma = network.constant(node, 1) if len(node.inputs) > 1 else np.ones(channels)
    beta = network.constant(node, 2) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(channels)
    tensor = network.layer(
        layers.LayerNormalization,
        node,
        value.tensor,
        weights=[np.broadcast_to(values, channels) for values in (gamma, beta)],
        epsilon=node.attributes.get("epsilon", 1e-5),
    )
    return Value(tensor, value.axes)


def arithmetic(node: Node, network: NetworkBuilder) -> Value:
    """Add, Sub, Mul and Div of two tensors, or of a tensor and a constant."""
    constants = [name in network.graph.constants for name in node.inputs]
    if True in constants:
        position = constants.index(False)
        return network.affine(node, position, *_scale_and_shift(node, network.constant(node, 1 - position), position))
    layer_class = {"Add": layers.Add, "Sub": layers.Subtract, "Mul": layers.Multiply}.get(node.operator)
    if layer_class is None:
        raise UnsupportedOperatorError(node, "a divisor that is not constant")
    return merge(node, network, layer_class)


def _scale_and_shift(node: Node, constant: Any, position: int) -> tuple[Any, Any]:
    """Return the operator as scale and shift of its input at `position`."""
    one, zero = 1.0, 0.0
    if node.operator == "Add":
        return one, constant
    if node.operator == "Sub":
        return (one, -constant) if position == 0 else (-1.0, constant)
    if node.operator == "Mul":
        return constant, zero
    if position == 1:
        raise UnsupportedOperatorError(node, "a divisor that is not constant")
    return 1 / constant, zero


def merge(node: Node, network: NetworkBuilder, layer_class: type, **config: Any) -> Value:
    """Return all inputs joined by a Keras layer, their axes in the order of the first."""
    values = [network.value(node, position) for position in range(len(node.inputs))]
    first = max(values, key=lambda value: np.prod(value.shape[1:]))
    if any(len(value.axes) != len(first.axes) or value.features is not None for value in values):
        raise UnsupportedOperatorError(node, f"inputs of shapes {[value.shape[1:] for value in values]}")
    tensors = [network.ordered(value, first.axes, node).tensor for value in values]
    return Value(network.layer(layer_class, node, *tensors, **config), first.axes)
