"""Folding of batch normalization into the layers before it, as exporters do when they write ONNX.

So a network has the same core, and the same int8 files, whichever format it is imported from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.importing.graph import Call, Graph, TensorRef

LAST_AXES = {"Conv2D": (-1, 3), "DepthwiseConv2D": (-1, 3), "Dense": (-1, 1)}
"""By the kind of a layer that a normalization can be folded into, the axis of its channels."""


def fold_batch_norms(graph: Graph) -> None:
    """Fold each batch normalization that alone reads a linear convolution or dense layer, in place."""
    calls = {TensorRef(call.name): call for call in graph.calls}
    for norm in [call for call in graph.calls if call.kind == "BatchNormalization"]:
        (source,) = norm.refs()
        layer = calls.get(source)
        if layer is None or not _is_foldable(layer, norm) or source in graph.outputs:
            continue
        if graph.consumers(source) != [norm]:
            continue
        _fold(layer, norm)
        graph.calls.remove(norm)
        replaced = {TensorRef(norm.name): source}
        for call in graph.calls:
            call.replace_refs(replaced)
        graph.outputs = [replaced.get(ref, ref) for ref in graph.outputs]


def _is_foldable(layer: Call, norm: Call) -> bool:
    axis = norm.config.get("axis", -1)
    axes = [*axis] if isinstance(axis, list | tuple) else [axis]
    is_linear = layer.config.get("activation") in (None, "linear")
    return is_linear and len(axes) == 1 and axes[0] in LAST_AXES.get(layer.kind, ()) and not norm.config.get("renorm")


def _fold(layer: Call, norm: Call) -> None:
    scale, shift = _scale_and_shift(norm)
    kernel, *bias = layer.weights
    factor = scale.reshape(kernel.shape[-2:]) if layer.kind == "DepthwiseConv2D" else scale
    offset = shift + (bias[0] * scale if bias else 0.0)
    layer.config["use_bias"] = True
    layer.weights = [(kernel * factor).astype(np.float32), offset.astype(np.float32)]


def _scale_and_shift(norm: Call) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a normalization in inference as scale and shift per channel."""
    weights: list[Any] = [np.asarray(values, np.float64) for values in norm.weights]
    mean, variance = weights[-2:]
    gamma = weights[0] if norm.config.get("scale", True) else 1.0
    beta = weights[-3] if norm.config.get("center", True) else 0.0
    scale = gamma / np.sqrt(variance + norm.config.get("epsilon", 1e-3))
    return scale, beta - mean * scale
