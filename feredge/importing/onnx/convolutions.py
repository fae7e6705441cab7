"""Convolutions and matrix products with constant weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.importing.onnx.graph import Node, UnsupportedOperatorError
from feredge.importing.onnx.network_builder import NetworkBuilder, Value
from feredge.importing.onnx.windows import Window, read_window
from feredge.keras import Tensor, keras

layers = keras.layers
NHWC = (0, 2, 3, 1)


def conv(node: Node, network: NetworkBuilder) -> Value:
    """Conv: Conv2D or DepthwiseConv2D, after a ZeroPadding2D where Keras's own padding differs."""
    kernel = network.constant(node, 1)
    if kernel.ndim != 4:
        raise UnsupportedOperatorError(node, f"a kernel of {kernel.ndim} axes")
    image = network.image(node)
    window = read_window(node, kernel.shape[2:], image.shape[1:3])
    if window.is_padded and not window.same:
        image = network.layer(layers.ZeroPadding2D, node, image, suffix="_pad", padding=window.padding)
    groups, channels = node.attributes.get("group", 1), image.shape[-1]
    bias = _bias(node, network)
    options: dict[str, Any] = {"strides": window.strides, "dilation_rate": window.dilations}
    options |= {"padding": "same" if window.same else "valid", "use_bias": bool(bias)}
    if groups == channels > 1:
        return Value(_depthwise(node, network, image, kernel, bias, window, options), NHWC)
    weights = [kernel.transpose(2, 3, 1, 0), *bias]
    options |= {"filters": kernel.shape[0], "kernel_size": window.size, "groups": groups}
    return Value(network.layer(layers.Conv2D, node, image, weights=weights, **options), NHWC)


def _depthwise(
    node: Node,
    network: NetworkBuilder,
    image: Tensor,
    kernel: NDArray[Any],
    bias: list[NDArray[Any]],
    window: Window,
    options: dict[str, Any],
) -> Tensor:
    if window.strides[0] != window.strides[1]:
        raise UnsupportedOperatorError(node, f"strides {window.strides} of a depthwise kernel")
    channels = image.shape[-1]
    multiplier = kernel.shape[0] // channels
    depthwise = kernel[:, 0].transpose(1, 2, 0).reshape(*window.size, channels, multiplier)
    options |= {"kernel_size": window.size, "depth_multiplier": multiplier}
    return network.layer(layers.DepthwiseConv2D, node, image, weights=[depthwise, *bias], **options)


def conv_transpose(node: Node, network: NetworkBuilder) -> Value:
    """ConvTranspose: Conv2DTranspose without padding, then a crop to ONNX's padding."""
    kernel = network.constant(node, 1)
    attributes = node.attributes
    if kernel.ndim != 4 or attributes.get("group", 1) != 1 or "output_shape" in attributes or "auto_pad" in attributes:
        raise UnsupportedOperatorError(node, "groups, an output shape, or a kernel of another rank than 4")
    bias = _bias(node, network)
    image, strides = network.image(node), tuple(attributes.get("strides", (1, 1)))
    pads, extra = attributes.get("pads", (0, 0, 0, 0)), attributes.get("output_padding", (0, 0))
    tensor = network.layer(
        layers.Conv2DTranspose,
        node,
        image,
        weights=[kernel.transpose(2, 3, 1, 0), *bias],
        use_bias=bool(bias),
        filters=kernel.shape[1],
        kernel_size=kernel.shape[2:],
        strides=strides,
        dilation_rate=tuple(attributes.get("dilations", (1, 1))),
    )
    crop = []
    for axis in (0, 1):
        dilation = attributes.get("dilations", (1, 1))[axis]
        extent = (kernel.shape[2 + axis] - 1) * dilation + 1
        length = (image.shape[1 + axis] - 1) * strides[axis] + extent - pads[axis] - pads[axis + 2] + extra[axis]
        crop.append((pads[axis], int(tensor.shape[1 + axis]) - pads[axis] - length))
    if min(min(side) for side in crop) < 0:
        raise UnsupportedOperatorError(node, f"output padding {extra}")
    if crop != [(0, 0), (0, 0)]:
        tensor = network.layer(layers.Cropping2D, node, tensor, suffix="_crop", cropping=crop)
    return Value(tensor, NHWC)


def _bias(node: Node, network: NetworkBuilder) -> list[NDArray[Any]]:
    """Return the bias of a convolution or product, in a list that is empty where it has none."""
    return [network.constant(node, 2)] if len(node.inputs) > 2 and node.inputs[2] else []


def gemm(node: Node, network: NetworkBuilder) -> Value:
    """Gemm: Dense."""
    attributes = node.attributes
    if attributes.get("transA", 0):
        raise UnsupportedOperatorError(node, "transA")
    kernel = network.constant(node, 1) * np.float32(attributes.get("alpha", 1.0))
    if attributes.get("transB", 0):
        kernel = kernel.T
    bias = sum(_bias(node, network), np.zeros(1, np.float32)) * np.float32(attributes.get("beta", 1.0))
    return _dense(node, network, kernel, np.broadcast_to(bias.ravel(), kernel.shape[1]))


def matmul(node: Node, network: NetworkBuilder) -> Value:
    """MatMul with a constant on the right: Dense, or a 1x1 convolution of feature maps."""
    kernel = network.constant(node, 1)
    if kernel.ndim < 2 or max(kernel.shape[:-2], default=1) != 1:
        raise UnsupportedOperatorError(node, f"a constant of shape {kernel.shape}")
    kernel = kernel.reshape(-1, kernel.shape[-1])
    return _dense(node, network, kernel, np.zeros(kernel.shape[-1], np.float32))


def _dense(node: Node, network: NetworkBuilder, kernel: NDArray[Any], bias: NDArray[Any]) -> Value:
    """Return the product of the first input's last axis with `kernel`, plus `bias`."""
    value = network.value(node)
    if value.features is not None:
        kernel = kernel[value.features]
    value = network.channels_last(value, node, axis=-1)
    channels = kernel.shape[1]
    if len(value.axes) == 4:
        weights = [kernel[None, None], bias]
        tensor = network.layer(layers.Conv2D, node, value.tensor, weights=weights, filters=channels, kernel_size=1)
    else:
        tensor = network.layer(layers.Dense, node, value.tensor, weights=[kernel, bias], units=channels)
    return Value(tensor, value.axes)
