"""A foreign Keras network as a core: gray pixels in [0, 1] in, layers that every converter and compression knows."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from feredge.keras import keras

Layer = dict[str, Any]
KEPT = ("name", "trainable", "dtype", "data_format", "dilation_rate")


def as_core(network: Any, *, size: int, low: float, high: float) -> Any:
    """Return `network` as `float32 (N, size, size, 1)` in [0, 1] to what it answers, exactly the same function.

    Black and white are `low` and `high` to the network. That is folded into its first layer where this changes
    nothing at the border; a 1x1 convolution before it does it otherwise. A network of three channels gets the gray in
    each, as the sum of its first kernel's channels. Separable convolutions become a depthwise and a pointwise one:
    quantization-aware training gets their padding wrong, and rounding and pruning treat the two apart.
    """
    if type(network) is keras.Sequential:
        network = keras.Model(network.inputs, network.outputs)
    config = copy.deepcopy(network.get_config())
    config["name"] = "core"
    weights = {layer.name: layer.get_weights() for layer in network.layers}
    layers: list[Layer] = []
    for layer in config["layers"]:
        layers += _split(layer, weights) if layer["class_name"] == "SeparableConv2D" else [layer]
    (given,) = [layer for layer in layers if layer["class_name"] == "InputLayer"]
    channels = network.input_shape[-1]
    given["config"]["batch_input_shape"] = [None, size, size, 1]
    _scale(layers, weights, given["name"], gain=high - low, offset=low, channels=channels)
    config["layers"] = layers
    core = keras.Model.from_config(config)
    for layer in core.layers:
        layer.set_weights(weights[layer.name])
    return core


def _split(layer: Layer, weights: dict[str, list[Any]]) -> list[Layer]:
    """Return the two convolutions of a separable one; the second has its name, so that the rest still finds it."""
    config, name = layer["config"], layer["name"]
    first = f"{name}_depthwise"
    depthwise, pointwise, *bias = weights[name]
    weights[first], weights[name] = [depthwise], [pointwise, *bias]
    shared = {key: config[key] for key in KEPT if key in config}
    spatial = {key: config[key] for key in ("kernel_size", "strides", "padding", "depth_multiplier")}
    return [
        {
            **layer,
            "class_name": "DepthwiseConv2D",
            "name": first,
            "config": {**shared, **spatial, "name": first, "use_bias": False},
        },
        {
            **layer,
            "class_name": "Conv2D",
            "config": {
                **shared,
                "dilation_rate": [1, 1],
                "filters": config["filters"],
                "kernel_size": [1, 1],
                "use_bias": config["use_bias"],
                "activation": config["activation"],
            },
            "inbound_nodes": [[[first, 0, 0, {}]]],
        },
    ]


def _scale(
    layers: list[Layer], weights: dict[str, list[Any]], given: str, *, gain: float, offset: float, channels: int
) -> None:
    """Let the first layers take gray in [0, 1] where they took `channels` of gain * gray + offset."""
    takers = [layer for layer in layers if _takes(layer, given)]
    first = takers[0]
    foldable = len(takers) == 1 and first["class_name"] == "Conv2D" and first["config"].get("groups", 1) == 1
    if foldable and (offset == 0.0 or first["config"]["padding"] == "valid"):
        kernel, *bias = weights[first["name"]]
        summed = kernel.astype(np.float64).sum(axis=2, keepdims=True)
        weights[first["name"]] = [(gain * summed).astype(np.float32), *bias]
        if offset:
            before = bias[0] if bias else np.zeros(kernel.shape[-1])
            first["config"]["use_bias"] = True
            weights[first["name"]][1:] = [(before + offset * summed.sum(axis=(0, 1, 2))).astype(np.float32)]
        return
    if (gain, offset, channels) == (1.0, 0.0, 1):
        return
    scale = {"filters": channels, "kernel_size": [1, 1], "name": "input_scale"}
    node = [[[given, 0, 0, {}]]]
    layers.append({"class_name": "Conv2D", "config": scale, "name": "input_scale", "inbound_nodes": node})
    weights["input_scale"] = [np.full((1, 1, 1, channels), gain, np.float32), np.full(channels, offset, np.float32)]
    for layer in takers:
        for place in layer["inbound_nodes"]:
            for source in place:
                if source[0] == given:
                    source[0] = "input_scale"


def _takes(layer: Layer, given: str) -> bool:
    return any(source[0] == given for node in layer["inbound_nodes"] for source in node)
