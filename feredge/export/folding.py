"""Batch normalization out of the way: into the convolution or dense layer before it, as the converters do."""

from __future__ import annotations

from typing import Any

import numpy as np

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
    gain = 1.0 / np.sqrt(norm.moving_variance.numpy().astype(np.float64) + norm.epsilon)
    if norm.scale:
        gain *= norm.gamma.numpy()
    bias = -norm.moving_mean.numpy() * gain + (norm.beta.numpy() if norm.center else 0.0)
    if layer.use_bias:
        bias += layer.bias.numpy() * gain
    return [(layer.kernel.numpy() * gain).astype(np.float32), bias.astype(np.float32)]
