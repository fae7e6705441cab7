"""Channels of a network: which layers share them, how important each is, and copies with fewer of them.

Channels that are added, as by residual connections, or multiplied form one group and are removed together. Warm
starts and channel pruning use this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import RecipeError
from feredge.keras import KerasLayer, KerasModel, Tensor, keras, tf
from feredge.train.batches import Batches
from feredge.train.networks import foldable_batchnorms

layers = keras.layers

IMPORTANCE_IMAGES, IMPORTANCE_BATCH = 8192, 16
"""Training images that importance is estimated on, and the batch size: squared gradients of small batches vary more."""
CHANNELWISE_LAYERS = (  # the output has the channels of the input, in the same order
    layers.BatchNormalization,
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
    layers.Activation,
    layers.Softmax,
    layers.Dropout,
    layers.Rescaling,
    layers.ZeroPadding2D,
    layers.UpSampling2D,
    layers.MaxPooling2D,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.Flatten,
)


@dataclass(eq=False)
class ChannelGroup:
    """Channels that are kept or removed together.

    Attributes:
        size: number of channels.
        producers: names of the convolutions and dense layers that compute them.
        fixed: they are the input's or the output's, and cannot be removed.
    """

    size: int
    producers: list[str] = field(default_factory=list)
    fixed: bool = False


KeptChannels = dict[ChannelGroup, NDArray[np.int64]]
"""Indices of the channels of each group that are kept, in rising order."""
ChannelScores = dict[ChannelGroup, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class ChannelLayout:
    """The channel groups that each layer takes and gives.

    Attributes:
        input_groups, output_groups: group of a layer's input and output, by the layer's name.
        positions: pixels per channel in a layer's input where that was flattened; else 1.
    """

    input_groups: dict[str, ChannelGroup]
    output_groups: dict[str, ChannelGroup]
    positions: dict[str, int]

    @property
    def groups(self) -> list[ChannelGroup]:
        """Groups whose channels can be removed, in the network's order."""
        return [group for group in dict.fromkeys(self.output_groups.values()) if not group.fixed]

    def input_indices(self, layer_name: str, kept_channels: KeptChannels) -> NDArray[np.int64]:
        """Return the indices that are kept of a layer's input."""
        group, positions = self.input_groups[layer_name], self.positions[layer_name]
        channels = kept_channels.get(group, np.arange(group.size))
        return (np.arange(positions)[:, None] * group.size + channels).ravel()

    def output_indices(self, layer_name: str, kept_channels: KeptChannels) -> NDArray[np.int64]:
        """Return the channels that are kept of a convolution's or dense layer's output."""
        group = self.output_groups[layer_name]
        return kept_channels.get(group, np.arange(group.size))


def channel_layout(core: KerasModel) -> ChannelLayout:
    """Trace the channels through a network.

    Raises:
        RecipeError: a layer of an unsupported type.
    """
    layout = ChannelLayout({}, {}, {})
    positions: dict[str, int] = {}  # pixels per channel in each layer's output where flattened
    for layer in core.layers:  # in topological order
        name = layer.name
        if type(layer) is layers.InputLayer:
            layout.output_groups[name] = ChannelGroup(layer.output_shape[0][-1], fixed=True)
            positions[name] = 1
            continue
        sources = [tensor._keras_history.layer.name for tensor in _as_list(layer.input)]
        layout.input_groups[name] = group = layout.output_groups[sources[0]]
        layout.positions[name] = positions[name] = positions[sources[0]]
        if type(layer) in (layers.Add, layers.Multiply):
            for source in sources[1:]:
                if layout.output_groups[source].size != group.size:
                    raise RecipeError(f"expected inputs of as many channels, found others ({name})")
                _merge(layout, group, layout.output_groups[source])
        elif type(layer) is layers.Dense or (type(layer) is layers.Conv2D and layer.groups == 1):
            group, positions[name] = ChannelGroup(layer.output_shape[-1], [name]), 1
        elif type(layer) is layers.Flatten:
            positions[name] = math.prod(layer.input_shape[1:-1])
        elif type(layer) not in CHANNELWISE_LAYERS and not _is_depthwise(layer):
            raise RecipeError(f"expected layers whose channels can be removed, found {type(layer).__name__} ({name})")
        layout.output_groups[name] = group
    layout.output_groups[core.layers[-1].name].fixed = True
    return layout


def _is_depthwise(layer: KerasLayer) -> bool:
    return type(layer) is layers.DepthwiseConv2D and layer.depth_multiplier == 1


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _merge(layout: ChannelLayout, group: ChannelGroup, other: ChannelGroup) -> None:
    """Replace `other` by `group`, which takes over its producers."""
    if other is group:
        return
    group.producers += other.producers
    group.fixed |= other.fixed
    for groups in (layout.input_groups, layout.output_groups):
        groups.update({name: group for name, member in groups.items() if member is other})


def match_widths(core: KerasModel, target: KerasModel, batches: Batches) -> KerasModel:
    """Return a copy of `core` with as many channels as `target` in each layer: the most important ones of `core`.

    Args:
        core: `float32 (N, H, W, 1)` in [0, 1] to probabilities.
        target: a network with some of the same layers, and no more channels in any.
        batches: training images that importance is estimated on.
    """
    layout, widths = channel_layout(core), {layer.name: layer.output_shape[-1] for layer in target.layers[1:]}
    sizes = {group: min(widths.get(name, group.size) for name in group.producers) for group in layout.groups}
    return select_channels(core, layout, most_important(channel_importance(core, layout, batches), sizes))


def select_channels(core: KerasModel, layout: ChannelLayout, kept_channels: KeptChannels) -> KerasModel:
    """Return a copy of `core` that has the kept channels only, of the groups in `kept_channels`."""
    widths = {name: len(kept_channels[group]) for group in kept_channels for name in group.producers}
    selected = with_widths(core, widths)
    for layer in core.layers:
        weights = layer.get_weights()
        if type(layer) in (layers.Conv2D, layers.Dense):
            inputs = layout.input_indices(layer.name, kept_channels)
            outputs = layout.output_indices(layer.name, kept_channels)
            weights = [weights[0][..., inputs, :][..., outputs], *(bias[outputs] for bias in weights[1:])]
        elif weights:  # per channel one value, or one depthwise kernel of (H, W, channels, 1)
            inputs = layout.input_indices(layer.name, kept_channels)
            weights = [values[:, :, inputs] if values.ndim == 4 else values[inputs] for values in weights]
        selected.get_layer(layer.name).set_weights(weights)
    return selected


def with_widths(core: KerasModel, widths: dict[str, int]) -> KerasModel:
    """Return a network of the same layers with the output channels in `widths`, by layer name, and fresh weights."""

    def clone_layer(layer: KerasLayer) -> KerasLayer:
        config = layer.get_config()
        if layer.name in widths:
            config["units" if type(layer) is layers.Dense else "filters"] = widths[layer.name]
        return type(layer).from_config(config)

    return keras.models.clone_model(core, clone_function=clone_layer)


def channel_importance(core: KerasModel, layout: ChannelLayout, batches: Batches) -> ChannelScores:
    """Return each channel's importance: the squared first-order estimate of the loss change without it, summed.

    The estimate is the sum of the channel's output times the loss's gradient (Molchanov et al., "Importance
    estimation for neural network pruning", 2019), taken at the parameters that produce the channel: scale and shift
    of the batch normalization after a convolution, or the convolution's kernel and bias. The estimates of channels
    that are added together are summed.
    """
    batchnorms = foldable_batchnorms(core)
    parameters = {
        name: (batchnorms.get(name) or core.get_layer(name)).trainable_variables
        for group in layout.groups
        for name in group.producers
    }

    @tf.function  # type: ignore[untyped-decorator]
    def loss_changes(images: Tensor, targets: Tensor) -> list[Tensor]:
        with tf.GradientTape() as tape:
            probabilities = core(tf.cast(images, tf.float32) / 255.0, training=False)
            loss = tf.reduce_mean(keras.losses.categorical_crossentropy(targets, probabilities))
        gradients = tape.gradient(loss, parameters)
        return [
            tf.add_n(
                [
                    tf.reduce_sum(tf.reshape(value * gradient, [-1, group.size]), axis=0)
                    for name in group.producers
                    for value, gradient in zip(parameters[name], gradients[name], strict=True)
                ]
            )
            for group in layout.groups
        ]

    scores = [np.zeros(group.size) for group in layout.groups]
    for images, targets in batches.epoch(0):
        for total, change in zip(scores, loss_changes(images, targets), strict=True):
            total += np.square(change.numpy().astype(np.float64))
    return dict(zip(layout.groups, scores, strict=True))


def most_important(scores: ChannelScores, sizes: dict[ChannelGroup, int]) -> KeptChannels:
    """Return the `sizes[group]` channels of each group with the highest scores, in rising order."""
    return {
        group: np.sort(np.argsort(-scores[group], kind="stable")[:size]).astype(np.int64)
        for group, size in sizes.items()
    }
