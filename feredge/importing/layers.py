"""Conversion of any Keras network to a core: pixels in [0, 1], and layers that can be compressed and converted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError
from feredge.importing.batch_norms import fold_batch_norms
from feredge.importing.graph import Call, Graph, TensorRef, flatten
from feredge.importing.translation import translate
from feredge.keras import KerasModel, keras

PixelValue = float | tuple[float, ...]
"""An input value: of all channels, or of each."""


@dataclass(frozen=True)
class PixelMap:
    """An affine map of a pixel's channels in [0, 1] to the channels that a layer takes: `pixel @ matrix + offset`.

    Attributes:
        matrix: `float64 (channels of the core, channels of the layer)`.
        offset: `float64 (channels of the layer,)`.
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return np.array_equal(self.matrix, np.eye(*self.matrix.shape)) and not self.offset.any()

    def then(self, matrix: NDArray[np.float64], offset: NDArray[np.float64]) -> PixelMap:
        """Return the composition with a second map."""
        return PixelMap(self.matrix @ matrix, self.offset @ matrix + offset)


def as_core(
    network: KerasModel, *, size: int, low: PixelValue, high: PixelValue, channels: int = 1, output: str = ""
) -> KerasModel:
    """Return the same function with an input of `float32 (N, size, size, channels)` in [0, 1].

    The network's input range is `low` (black) to `high` (white). Its scaling, and that of the network's own first
    layers (Rescaling, Normalization, `x / 127.5 - 1`), is folded into its first convolution if that is exact at the
    border; otherwise a 1x1 convolution is prepended. Batch normalization is folded into the layer before it. A core of
    one channel gives a network of three gray in each: the channels of its first kernel are summed. A network without a
    channel axis gets the pixels of the only channel.

    Args:
        network: of Keras 2 or 3.
        size: height and width.
        low: input value of a black pixel, of all channels or of each.
        high: likewise of a white pixel.
        channels: of the core: 1, or those of the network.
        output: name of the output, see `output_names`; the first by default.

    Raises:
        ArtifactError: a layer or operation without a translation.
    """
    graph = translate(flatten(network))
    graph.outputs = [graph.outputs[output_names(network).index(output) if output else 0]]
    fold_batch_norms(graph)
    taken = network.input_shape[-1] if len(network.input_shape) == 4 else 1
    if len(network.input_shape) != 4:
        _add_reshape(graph, [size, size] if len(network.input_shape) == 3 else [size * size])
    black, white = (np.broadcast_to(np.asarray(value, np.float64), taken) for value in (low, high))
    pixels = PixelMap((np.ones((1, taken)) if channels == 1 else np.eye(taken)) * (white - black), black)
    _scale_input(graph, _absorb_scaling(graph, pixels))
    return build(graph, (size, size, channels))


def output_names(network: KerasModel) -> list[str]:
    """Return the names of a network's outputs: those of the layers that compute them."""
    return [ref.call + (f":{ref.index}" if ref.index else "") for ref in flatten(network).outputs]


def build(graph: Graph, shape: tuple[int, int, int]) -> KerasModel:
    """Return the Keras 2 network of a translated graph, with an input of `shape`, (H, W, C)."""
    (name,) = graph.inputs
    pixels = keras.Input(shape, name=name)
    tensors: dict[TensorRef, Any] = {TensorRef(name): pixels}
    for call in graph.calls:
        layer = getattr(keras.layers, call.kind).from_config(call.config)
        outputs = layer(*_resolved(call.arguments, tensors), **_resolved(call.keywords, tensors))
        layer.set_weights([np.asarray(weight, np.float32) for weight in call.weights])
        for index, tensor in enumerate(outputs if isinstance(outputs, list | tuple) else [outputs]):
            tensors[TensorRef(call.name, index)] = tensor
    return keras.Model(pixels, tensors[graph.outputs[0]], name="core")


def _resolved(value: Any, tensors: dict[TensorRef, Any]) -> Any:
    if isinstance(value, TensorRef):
        return tensors[value]
    if isinstance(value, list):
        return [_resolved(item, tensors) for item in value]
    return {key: _resolved(item, tensors) for key, item in value.items()} if isinstance(value, dict) else value


def _add_reshape(graph: Graph, target_shape: list[int]) -> None:
    """Reshape the input of a network that has no channel axis."""
    source, reshape = TensorRef(graph.inputs[0]), "input_reshape"
    for call in graph.calls:
        call.replace_refs({source: TensorRef(reshape)})
    config = {"name": reshape, "target_shape": target_shape}
    graph.calls.insert(0, Call(reshape, "Reshape", config, [source]))


def _absorb_scaling(graph: Graph, pixels: PixelMap) -> PixelMap:
    """Remove the scaling layers at the beginning of a graph, and return `pixels` with their effect."""
    source = TensorRef(graph.inputs[0])
    while len(consumers := graph.consumers(source)) == 1 and source not in graph.outputs:
        (call,) = consumers
        scaling = _scaling(call, pixels.matrix.shape[1])
        if scaling is None or TensorRef(call.name) in graph.outputs:
            break
        pixels = pixels.then(*scaling)
        graph.calls.remove(call)
        for other in graph.calls:
            other.replace_refs({TensorRef(call.name): source})
    return pixels


def _scaling(call: Call, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return matrix and offset of a layer that maps each pixel's channels; None for any other layer."""
    if call.kind == "Rescaling":
        scale, offset = (np.asarray(call.config.get(key, 0.0), np.float64) for key in ("scale", "offset"))
        if all(value.size == 1 or value.shape[-1] == value.size == channels for value in (scale, offset)):
            diagonal = np.broadcast_to(scale.reshape(-1), channels)
            return np.diag(diagonal), np.array(np.broadcast_to(offset.reshape(-1), channels))
    if (
        call.kind == "Conv2D"
        and [weight.shape for weight in call.weights] == [(1, 1, channels, channels)]
        and call.config.get("activation", "linear") == "linear"
    ):
        matrix = call.weights[0].astype(np.float64)[0, 0]
        if np.array_equal(matrix @ matrix.T, np.eye(channels)) and set(np.unique(matrix)) <= {0.0, 1.0}:
            return matrix, np.zeros(channels)  # the channels in another order
    return None


def _scale_input(graph: Graph, pixels: PixelMap) -> None:
    """Apply a map of the pixels before a graph, in its first convolution where that is exact."""
    source = TensorRef(graph.inputs[0])
    consumers = graph.consumers(source)
    if not consumers:
        raise ArtifactError("expected layers between input and output, found none")
    first = consumers[0]
    foldable = len(consumers) == 1 and first.kind == "Conv2D" and first.config.get("groups", 1) == 1
    if foldable and (not pixels.offset.any() or first.config.get("padding", "valid") == "valid"):
        _fold(first, pixels)
    elif not pixels.is_identity:
        channels = pixels.matrix.shape[1]
        scale = "input_scale"
        for call in graph.calls:
            call.replace_refs({source: TensorRef(scale)})
        config = {"filters": channels, "kernel_size": [1, 1], "name": scale}
        weights = [pixels.matrix[None, None].astype(np.float32), pixels.offset.astype(np.float32)]
        graph.calls.insert(0, Call(scale, "Conv2D", config, [source], {}, weights))


def _fold(convolution: Call, pixels: PixelMap) -> None:
    """Let a convolution take the pixels themselves."""
    kernel, *bias = convolution.weights
    kernel = kernel.astype(np.float64)
    folded = np.einsum("hwco,ic->hwio", kernel, pixels.matrix)
    convolution.weights = [folded.astype(np.float32), *bias]
    if pixels.offset.any():
        old_bias = bias[0] if bias else np.zeros(kernel.shape[-1])
        offset = np.einsum("hwco,c->o", kernel, pixels.offset)
        convolution.config["use_bias"] = True
        convolution.weights[1:] = [(old_bias + offset).astype(np.float32)]
