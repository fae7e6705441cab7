"""Channel pruning: whole channels are removed, so that tensors shrink and runtimes for dense tensors are faster.

The least important channels of a group are removed, a multiple of eight at a time because runtimes compute on
vectors of eight; the group with the least importance lost per multiply-add saved comes first.
"""

from __future__ import annotations

import math

import numpy as np

from feredge.errors import RecipeError
from feredge.keras import KerasModel, keras
from feredge.train.batches import Batches
from feredge.train.channels import (
    ChannelGroup,
    ChannelLayout,
    ChannelScores,
    KeptChannels,
    channel_importance,
    channel_layout,
    most_important,
    select_channels,
)
from feredge.train.networks import multiply_adds

layers = keras.layers

CHANNEL_MULTIPLE = 8


def prune_channels(core: KerasModel, share: float, batches: Batches) -> KerasModel:
    """Return a copy of `core` without its least important channels and at least `share` of its multiply-adds.

    Args:
        core: `float32 (N, H, W, 1)` in [0, 1] to probabilities.
        share: between 0 and 1.
        batches: training images that importance is estimated on.

    Raises:
        RecipeError: a layer of an unsupported type, or a share that cannot be reached.
    """
    layout = channel_layout(core)
    kept_channels = choose_channels(core, layout, channel_importance(core, layout, batches), share)
    return select_channels(core, layout, kept_channels)


def choose_channels(core: KerasModel, layout: ChannelLayout, scores: ChannelScores, share: float) -> KeptChannels:
    """Return the channels to keep of each group.

    Raises:
        RecipeError: `share` of the multiply-adds cannot be saved with CHANNEL_MULTIPLE channels kept in each group.
    """
    sizes = {group: group.size for group in layout.groups}
    dense = _multiply_adds(core, layout, sizes)
    assert dense == multiply_adds(core)
    ascending = {group: np.sort(scores[group]) for group in sizes}
    while _multiply_adds(core, layout, sizes) > (1 - share) * dense:
        cheapest, lowest_cost = None, math.inf
        for group, size in sizes.items():
            smaller = _next_smaller(size)
            if smaller < CHANNEL_MULTIPLE:
                continue
            lost = ascending[group][: group.size - smaller].sum() - ascending[group][: group.size - size].sum()
            saved = _multiply_adds(core, layout, sizes) - _multiply_adds(core, layout, {**sizes, group: smaller})
            if lost / saved < lowest_cost:
                cheapest, lowest_cost = group, lost / saved
        if cheapest is None:
            reachable = 1 - _multiply_adds(core, layout, sizes) / dense
            raise RecipeError(
                f"expected at most {math.floor(100 * reachable)}% of the multiply-adds to remove with channels"
            )
        sizes[cheapest] = _next_smaller(sizes[cheapest])
    return most_important(scores, sizes)


def _next_smaller(size: int) -> int:
    return (size - 1) // CHANNEL_MULTIPLE * CHANNEL_MULTIPLE


def _multiply_adds(core: KerasModel, layout: ChannelLayout, sizes: dict[ChannelGroup, int]) -> int:
    """Return the multiply-adds of `core` with groups of these sizes."""
    total = 0
    for layer in core.layers:
        if type(layer) not in (layers.Conv2D, layers.Dense, layers.DepthwiseConv2D):
            continue
        input_group, output_group = layout.input_groups[layer.name], layout.output_groups[layer.name]
        inputs, outputs = (sizes.get(group, group.size) for group in (input_group, output_group))
        if type(layer) is layers.DepthwiseConv2D:
            inputs = 1  # each output channel depends on one
        kernel = layer.weights[0]
        window = math.prod(kernel.shape[:-2]) * math.prod(layer.output_shape[1:-1])
        total += inputs * layout.positions[layer.name] * outputs * window
    return total
