"""Windows of convolutions and pools: where ONNX pads, and how a Keras layer does the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

from feredge.importing.onnx.graph import Node, UnsupportedOperatorError

Padding = tuple[tuple[int, int], tuple[int, int]]
"""Rows above and below, columns left and right."""


@dataclass(frozen=True)
class Window:
    """The window of a convolution or pool over feature maps.

    Attributes:
        size: height and width.
        strides: of its positions.
        dilations: distances between its elements.
        padding: rows and columns that it reaches beyond the feature map.
        same: whether the padding is that of Keras's `same`.
    """

    size: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    padding: Padding
    same: bool

    @property
    def is_padded(self) -> bool:
        """Whether it reaches beyond the feature map."""
        return self.padding != ((0, 0), (0, 0))


def read_window(node: Node, size: tuple[int, ...], feature_map: tuple[int, int]) -> Window:
    """Return the window of a Conv, MaxPool or AveragePool node.

    Args:
        node: the node.
        size: of the window.
        feature_map: height and width of the input.
    """
    if len(size) != 2:
        raise UnsupportedOperatorError(node, f"a window of {len(size)} axes")
    strides = tuple(node.attributes.get("strides", (1, 1)))
    dilations = tuple(node.attributes.get("dilations", (1, 1)))
    pads = node.attributes.get("pads", (0, 0, 0, 0))
    auto_pad = bytes(node.attributes.get("auto_pad", b"NOTSET")).decode()
    ceil_mode = bool(node.attributes.get("ceil_mode", 0))
    axes = [
        _axis_geometry(length, (kernel - 1) * dilation + 1, stride, (pads[axis], pads[axis + 2]), auto_pad, ceil_mode)
        for axis, (length, kernel, dilation, stride) in enumerate(
            zip(feature_map, size, dilations, strides, strict=True)
        )
    ]
    if any(min(padding) < 0 for padding, _ in axes):
        raise UnsupportedOperatorError(node, f"negative padding {tuple(pads)}")
    if any(count < 1 for _, count in axes):
        raise UnsupportedOperatorError(node, f"a window of {size} on a feature map of {feature_map}")
    same = [
        count == math.ceil(length / stride)
        and padding == _same_padding(count, length, (kernel - 1) * dilation + 1, stride)
        for (padding, count), length, kernel, dilation, stride in zip(
            axes, feature_map, size, dilations, strides, strict=True
        )
    ]
    return Window(size, strides, dilations, (axes[0][0], axes[1][0]), all(same))


def _axis_geometry(
    length: int, extent: int, stride: int, pads: tuple[int, int], auto_pad: str, ceil_mode: bool
) -> tuple[tuple[int, int], int]:
    """Return, of one axis, the padding (before, after) that windows reach into, and the number of windows.

    Negative padding is returned as it is.
    """
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        count = math.ceil(length / stride)
        before, after = _same_padding(count, length, extent, stride)
        return ((after, before) if auto_pad == "SAME_LOWER" else (before, after)), count
    before, after = (0, 0) if auto_pad == "VALID" else pads
    free = length + before + after - extent
    count = (-(-free // stride) if ceil_mode else free // stride) + 1
    if ceil_mode and (count - 1) * stride >= length + before:  # the last window would be in the padding
        count -= 1
    return (before, min(after, 0) or max((count - 1) * stride + extent - length - before, 0)), count


def _same_padding(count: int, length: int, extent: int, stride: int) -> tuple[int, int]:
    total = max((count - 1) * stride + extent - length, 0)
    return total // 2, total - total // 2
