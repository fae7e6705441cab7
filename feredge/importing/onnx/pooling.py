"""Pools, means over axes, and interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.importing.onnx.convolutions import NHWC
from feredge.importing.onnx.graph import Node, UnsupportedOperatorError
from feredge.importing.onnx.network_builder import NetworkBuilder, Value
from feredge.importing.onnx.windows import Padding, Window, read_window
from feredge.keras import KerasLayer, Tensor, keras

layers = keras.layers


def max_pool(node: Node, network: NetworkBuilder) -> Value:
    """MaxPool: MaxPooling2D."""
    image = network.image(node)
    window = read_window(node, tuple(node.attributes["kernel_shape"]), image.shape[1:3])
    if window.dilations != (1, 1):
        raise UnsupportedOperatorError(node, f"dilations {window.dilations}")
    if window.is_padded and not window.same:
        image = _pad_for_maximum(node, network, image, window.padding)
    return _pool(layers.MaxPooling2D, node, network, image, window, same=window.same)


def average_pool(node: Node, network: NetworkBuilder) -> Value:
    """AveragePool: AveragePooling2D, whose padding does not count."""
    image = network.image(node)
    window = read_window(node, tuple(node.attributes["kernel_shape"]), image.shape[1:3])
    counted = bool(node.attributes.get("count_include_pad", 0)) and window.is_padded
    if window.dilations != (1, 1) or (counted and node.attributes.get("ceil_mode", 0)):
        raise UnsupportedOperatorError(node, "dilations, or padding that counts and ceil_mode")
    if window.is_padded and not (window.same or counted):
        raise UnsupportedOperatorError(node, f"padding {window.padding} that does not count")
    if counted:
        image = network.layer(layers.ZeroPadding2D, node, image, suffix="_pad", padding=window.padding)
    return _pool(layers.AveragePooling2D, node, network, image, window, same=window.same and not counted)


def _pool(layer_class: type, node: Node, network: NetworkBuilder, image: Tensor, window: Window, same: bool) -> Value:
    padding = "same" if same else "valid"
    tensor = network.layer(layer_class, node, image, pool_size=window.size, strides=window.strides, padding=padding)
    return Value(tensor, NHWC)


def _pad_for_maximum(node: Node, network: NetworkBuilder, image: Tensor, padding: Padding) -> Tensor:
    """Return feature maps padded with values that change no maximum: zeros after a ReLU, else copies of the border."""
    if _is_nonnegative(image._keras_history.layer):
        return network.layer(layers.ZeroPadding2D, node, image, suffix="_pad", padding=padding)
    for axis, (before, after) in enumerate(padding, start=1):
        last = int(image.shape[axis]) - 1
        first_rows = [_crop(node, network, image, axis, (0, last))] * before if before else []
        last_rows = [_crop(node, network, image, axis, (last, 0))] * after if after else []
        if before or after:
            parts = [*first_rows, image, *last_rows]
            image = network.layer(layers.Concatenate, node, *parts, suffix="_pad", axis=axis)
    return image


def _crop(node: Node, network: NetworkBuilder, image: Tensor, axis: int, crop: tuple[int, int]) -> Tensor:
    cropping = (crop, (0, 0)) if axis == 1 else ((0, 0), crop)
    return network.layer(layers.Cropping2D, node, image, suffix="_border", cropping=cropping)


def _is_nonnegative(layer: KerasLayer) -> bool:
    return isinstance(layer, layers.ReLU) or (
        isinstance(layer, layers.Activation) and layer.activation.__name__ in ("relu", "sigmoid")
    )


def global_pool(node: Node, network: NetworkBuilder) -> Value:
    """GlobalAveragePool and GlobalMaxPool, which keep the axes."""
    layer_class = {
        "GlobalAveragePool": layers.GlobalAveragePooling2D,
        "GlobalMaxPool": layers.GlobalMaxPooling2D,
    }[node.operator]
    return Value(network.layer(layer_class, node, network.image(node), keepdims=True), NHWC)


def reduce(node: Node, network: NetworkBuilder) -> Value:
    """ReduceMean and ReduceMax over all axes but the batch and one."""
    value = network.value(node)
    rank = len(value.axes)
    axes = sorted(axis % rank for axis in network.argument(node, "axes", 1, range(1, rank)))
    kept = [axis for axis in range(1, rank) if axis not in axes]
    classes = {
        ("ReduceMean", 4): layers.GlobalAveragePooling2D,
        ("ReduceMean", 3): layers.GlobalAveragePooling1D,
        ("ReduceMax", 4): layers.GlobalMaxPooling2D,
        ("ReduceMax", 3): layers.GlobalMaxPooling1D,
    }
    if len(kept) != 1 or 0 in axes or (node.operator, rank) not in classes or value.features is not None:
        raise UnsupportedOperatorError(node, f"axes {axes} of {rank}")
    value = network.channels_last(value, node, axis=kept[0])
    keeps_axes = bool(node.attributes.get("keepdims", 1))
    tensor = network.layer(classes[node.operator, rank], node, value.tensor, keepdims=keeps_axes)
    return Value(tensor, value.axes if keeps_axes else (0, 1))


def resize(node: Node, network: NetworkBuilder) -> Value:
    """Resize and Upsample by a whole factor: UpSampling2D."""
    image = network.image(node)
    factors = _factors(node, network, image)
    mode = bytes(node.attributes.get("mode", b"nearest")).decode()
    transformation = bytes(node.attributes.get("coordinate_transformation_mode", b"half_pixel")).decode()
    if node.operator == "Upsample":
        transformation = "asymmetric"
    if mode == "nearest":
        rounding = bytes(node.attributes.get("nearest_mode", b"round_prefer_floor")).decode()
        rounding = "floor" if node.operator == "Upsample" else rounding
        lengths = zip(image.shape[1:3], factors, strict=True)
        exact = all(_repeats(int(length), factor, transformation, rounding) for length, factor in lengths)
    else:
        exact = mode == "linear" and transformation in ("half_pixel", "pytorch_half_pixel")
    if not exact:
        raise UnsupportedOperatorError(node, f"mode {mode}, {transformation}")
    interpolation = "nearest" if mode == "nearest" else "bilinear"
    return Value(network.layer(layers.UpSampling2D, node, image, size=factors, interpolation=interpolation), NHWC)


def _factors(node: Node, network: NetworkBuilder, image: Tensor) -> tuple[int, int]:
    """Return the whole factors of height and width."""
    scales = network.argument(node, "scales", 1 if node.operator == "Upsample" else 2)
    if not scales:
        lengths = zip(network.argument(node, "sizes", 3, (0, 0, 0, 0))[2:], image.shape[1:3], strict=True)
        scales = [1, 1, *(length / int(old) for length, old in lengths)]
    if len(scales) != 4 or [*scales[:2]] != [1, 1] or any(scale < 1 or scale != int(scale) for scale in scales):
        raise UnsupportedOperatorError(node, f"scales {scales}; expected whole factors of height and width")
    return int(scales[2]), int(scales[3])


def _repeats(length: int, factor: int, transformation: str, rounding: str) -> bool:
    """Return whether nearest interpolation repeats each pixel `factor` times."""
    positions: NDArray[Any] = np.arange(length * factor)
    if transformation in ("half_pixel", "pytorch_half_pixel"):
        source = (positions + 0.5) / factor - 0.5
    elif transformation == "asymmetric":
        source = positions / factor
    else:
        return False
    nearest = {
        "round_prefer_floor": np.ceil(source - 0.5),
        "round_prefer_ceil": np.floor(source + 0.5),
        "floor": np.floor(source),
        "ceil": np.ceil(source),
    }[rounding]
    return bool((np.clip(nearest, 0, length - 1) == positions // factor).all())
