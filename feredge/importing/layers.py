"""Conversion of any Keras network to a core: gray pixels in [0, 1], and layers that can be compressed and converted."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.keras import KerasModel, keras

LayerConfig = dict[str, Any]
PixelValue = float | tuple[float, ...]
"""An input value: of all channels, or of each."""
SHARED_SETTINGS = ("name", "trainable", "dtype", "data_format", "dilation_rate")


def as_core(network: KerasModel, *, size: int, low: PixelValue, high: PixelValue) -> KerasModel:
    """Return the same function with an input of `float32 (N, size, size, 1)` in [0, 1].

    The network's input range is `low` (black) to `high` (white), which may differ between channels. The scaling is
    folded into its first layer if that is exact at the border; otherwise a 1x1 convolution is prepended. A network of
    three channels gets gray in each: the channels of its first kernel are summed. Separable convolutions become a
    depthwise and a pointwise one: quantization-aware training pads them wrongly, and rounding and pruning need the two
    kernels.
    """
    if type(network) is keras.Sequential:
        network = keras.Model(network.inputs, network.outputs)
    config = copy.deepcopy(network.get_config())
    config["name"] = "core"
    weights = {layer.name: layer.get_weights() for layer in network.layers}
    layers: list[LayerConfig] = []
    for layer in config["layers"]:
        layers += _split_separable(layer, weights) if layer["class_name"] == "SeparableConv2D" else [layer]
    (input_layer,) = [layer for layer in layers if layer["class_name"] == "InputLayer"]
    channels = network.input_shape[-1]
    input_layer["config"]["batch_input_shape"] = [None, size, size, 1]
    offset = np.broadcast_to(np.asarray(low, np.float64), channels)
    gain = np.broadcast_to(np.asarray(high, np.float64), channels) - offset
    _scale_input(layers, weights, input_layer["name"], gain=gain, offset=offset)
    config["layers"] = layers
    core = keras.Model.from_config(config)
    for layer in core.layers:
        layer.set_weights(weights[layer.name])
    return core


def _split_separable(layer: LayerConfig, weights: dict[str, list[Any]]) -> list[LayerConfig]:
    """Return the depthwise and pointwise convolution of a separable one; the latter has its name and its consumers."""
    config, name = layer["config"], layer["name"]
    depthwise_name = f"{name}_depthwise"
    depthwise, pointwise, *bias = weights[name]
    weights[depthwise_name], weights[name] = [depthwise], [pointwise, *bias]
    shared = {key: config[key] for key in SHARED_SETTINGS if key in config}
    spatial = {key: config[key] for key in ("kernel_size", "strides", "padding", "depth_multiplier")}
    return [
        {
            **layer,
            "class_name": "DepthwiseConv2D",
            "name": depthwise_name,
            "config": {**shared, **spatial, "name": depthwise_name, "use_bias": False},
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
            "inbound_nodes": [[[depthwise_name, 0, 0, {}]]],
        },
    ]


def _scale_input(
    layers: list[LayerConfig],
    weights: dict[str, list[Any]],
    input_name: str,
    *,
    gain: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> None:
    """Change the first layers from an input of gain * gray + offset, in each channel, to gray in [0, 1]."""
    consumers = [layer for layer in layers if _consumes(layer, input_name)]
    first = consumers[0]
    foldable = len(consumers) == 1 and first["class_name"] == "Conv2D" and first["config"].get("groups", 1) == 1
    if foldable and (not offset.any() or first["config"]["padding"] == "valid"):
        kernel, *bias = weights[first["name"]]
        exact = kernel.astype(np.float64)
        summed = (gain[:, None] * exact).sum(axis=2, keepdims=True)
        weights[first["name"]] = [summed.astype(np.float32), *bias]
        if offset.any():
            old_bias = bias[0] if bias else np.zeros(kernel.shape[-1])
            first["config"]["use_bias"] = True
            shift = (offset[:, None] * exact).sum(axis=(0, 1, 2))
            weights[first["name"]][1:] = [(old_bias + shift).astype(np.float32)]
        return
    channels = len(gain)
    if channels == 1 and (gain[0], offset[0]) == (1.0, 0.0):
        return
    scale = {"filters": channels, "kernel_size": [1, 1], "name": "input_scale"}
    node = [[[input_name, 0, 0, {}]]]
    layers.append({"class_name": "Conv2D", "config": scale, "name": "input_scale", "inbound_nodes": node})
    weights["input_scale"] = [gain.astype(np.float32).reshape(1, 1, 1, channels), offset.astype(np.float32)]
    for layer in consumers:
        for inbound in layer["inbound_nodes"]:
            for source in inbound:
                if source[0] == input_name:
                    source[0] = "input_scale"


def _consumes(layer: LayerConfig, input_name: str) -> bool:
    return any(source[0] == input_name for node in layer["inbound_nodes"] for source in node)
