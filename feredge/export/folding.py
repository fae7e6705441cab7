"""Batch normalization out of the way: folded into the layers beside it, or made a layer that integers can do."""

from __future__ import annotations

from typing import Any

import numpy as np

from feredge.errors import RecipeError
from feredge.keras import keras

layers = keras.layers


def fold_norms(core: Any) -> Any:
    """Return a network that gives the same without the normalizations that follow a convolution or dense layer."""
    pairs = norms_after_weights(core)
    norms = {norm.name for norm in pairs.values()}

    def cloned(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in norms:
            return layers.Activation("linear", name=layer.name)
        if layer.name in pairs:
            config["use_bias"] = True
        return type(layer).from_config(config)

    folded = keras.models.clone_model(core, clone_function=cloned)
    for layer in core.layers:
        weights = layer.get_weights()
        if layer.name in pairs:
            folded.get_layer(layer.name).set_weights(_folded(layer, pairs[layer.name]))
        elif layer.name not in norms:
            folded.get_layer(layer.name).set_weights(weights)
    return folded


def without_loose_norms(core: Any) -> Any:
    """Return a network that gives the same without the normalizations that follow no convolution or dense layer.

    Quantization-aware training knows those only that do. On a picture another becomes a convolution of one weight
    and one bias a channel, which has an integer kernel; on features it is folded into the dense layer after it.

    Raises:
        RecipeError: features that something else takes.
    """
    tight = {norm.name for norm in norms_after_weights(core).values()}
    loose = [each for each in core.layers if type(each) is layers.BatchNormalization and each.name not in tight]
    if not loose:
        return core
    on_features = {_dense_after(norm).name: norm for norm in loose if len(norm.output_shape) == 2}
    gone = {norm.name for norm in on_features.values()}

    def cloned(layer: Any) -> Any:
        if layer.name in gone:
            return layers.Activation("linear", name=layer.name)
        if layer in loose:
            return layers.DepthwiseConv2D(1, name=layer.name)
        return type(layer).from_config(layer.get_config())

    clone = keras.models.clone_model(core, clone_function=cloned)
    for layer in core.layers:
        weights = layer.get_weights()
        if layer.name in on_features:
            gain, shift = _line(on_features[layer.name])
            kernel, *bias = (weight.astype(np.float64) for weight in weights)
            weights = [kernel * gain[:, None], *(each + shift @ kernel for each in bias)]
        elif layer in loose and layer.name not in gone:
            gain, shift = _line(layer)
            weights = [gain[None, None, :, None], shift]
        if layer.name not in gone:
            clone.get_layer(layer.name).set_weights([weight.astype(np.float32) for weight in weights])
    return clone


def _dense_after(norm: Any) -> Any:
    layer = norm
    while type(layer) in (layers.BatchNormalization, layers.Dropout) and len(layer.outbound_nodes) == 1:
        layer = layer.outbound_nodes[0].outbound_layer
    if type(layer) is not layers.Dense or not layer.use_bias:
        raise RecipeError(f"expected a dense layer after {norm.name}, found {type(layer).__name__} ({layer.name})")
    return layer


def _line(norm: Any) -> tuple[Any, Any]:
    """Return gain and shift of a normalization's channels, in double precision."""
    gain = 1.0 / np.sqrt(norm.moving_variance.numpy().astype(np.float64) + norm.epsilon)
    if norm.scale:
        gain *= norm.gamma.numpy()
    return gain, (norm.beta.numpy() if norm.center else 0.0) - norm.moving_mean.numpy() * gain


def norms_after_weights(core: Any) -> dict[str, Any]:
    """Return the normalizations that can be folded, by the name of the layer that they follow."""
    pairs = {}
    for layer in core.layers:
        followers = [node.outbound_layer for node in layer.outbound_nodes]
        if (
            type(layer) in (layers.Conv2D, layers.Dense)
            and layer.activation is keras.activations.linear
            and len(followers) == 1
            and type(followers[0]) is layers.BatchNormalization
        ):
            pairs[layer.name] = followers[0]
    return pairs


def _folded(layer: Any, norm: Any) -> list[Any]:
    gain, bias = _line(norm)
    if layer.use_bias:
        bias += layer.bias.numpy() * gain
    return [(layer.kernel.numpy() * gain).astype(np.float32), bias.astype(np.float32)]
