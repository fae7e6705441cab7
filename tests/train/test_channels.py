"""Channels: groups, importance, and copies with fewer channels in which nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_networks import RESIDUAL, WEIGHTED, random_core, striped_batches
from tiny_training import stripes

from feredge.errors import RecipeError
from feredge.keras import keras
from feredge.recipes.schema import Network
from feredge.train import channels

NETWORKS = [
    RESIDUAL,
    WEIGHTED,
    Network(name="six-class-cnn"),
    Network(name="three-class-dcnn"),
    None,  # separable
]


def _name(network: Network | None) -> str:
    return network.name + "-weighted" * (network.pool == "weighted") if network else "separable"


def _zero_removed(core: Any, layout: channels.ChannelLayout, kept_channels: channels.KeptChannels) -> None:
    """Zero the channels that are not kept, in each layer's weights."""
    for layer in core.layers:
        group = layout.output_groups[layer.name]
        if group not in kept_channels or not layer.get_weights():
            continue
        positions = layout.positions[layer.name] if layer.name not in group.producers else 1
        removed = np.setdiff1d(np.arange(group.size), kept_channels[group])
        index = (np.arange(positions)[:, None] * group.size + removed).ravel()
        weights = layer.get_weights()
        for values in weights if layer.name in group.producers else weights[:3]:
            np.moveaxis(values, 2 if values.shape[-1] == 1 else -1, -1)[..., index] = 0.0
        layer.set_weights(weights)


@pytest.mark.parametrize("network", NETWORKS, ids=_name)
def test_removing_channels_that_are_zero_changes_nothing(network: Network | None) -> None:
    """Guards additions, normalizations, flattened and depthwise channels: an index off by one changes the outputs."""
    size = 16 if network is None or network.name == "residual" else 48
    core, images = random_core(network, size), stripes(8, size=size).images / np.float32(255)
    layout = channels.channel_layout(core)
    rng = np.random.default_rng(1)
    kept_channels = {
        group: np.sort(rng.permutation(group.size)[: group.size - 8]) for group in layout.groups if group.size > 8
    }
    _zero_removed(core, layout, kept_channels)
    pruned = channels.select_channels(core, layout, kept_channels)
    assert pruned.count_params() < core.count_params()
    # Sums over fewer terms are taken in another order: a few bits of float32.
    np.testing.assert_allclose(pruned(images).numpy(), core(images).numpy(), atol=2e-6)


def test_channels_that_are_added_are_one_group() -> None:
    """Guards residual networks: all layers that a stage's shortcuts connect have one set of channels."""
    groups = [sorted(group.producers) for group in channels.channel_layout(random_core(RESIDUAL, 16)).groups]
    assert groups == [
        ["stage1_block1_2_conv", "stage1_block2_2_conv", "stem_conv"],
        ["stage1_block1_1_conv"],
        ["stage1_block2_1_conv"],
        ["stage2_block1_1_conv"],
        ["stage2_block1_2_conv", "stage2_block1_shortcut_conv"],
    ]


def test_an_unsupported_layer_is_refused() -> None:
    """Guards against a layer that mixes channels in a way that is not traced."""
    pixels = keras.Input((16, 16, 1))
    mixed = keras.layers.Flatten()(keras.layers.LayerNormalization(name="mixed")(keras.layers.Conv2D(16, 3)(pixels)))
    with pytest.raises(RecipeError, match=r"found LayerNormalization \(mixed\)"):
        channels.channel_layout(keras.Model(pixels, keras.layers.Dense(7, "softmax")(mixed)))


def test_channels_without_effect_have_no_importance() -> None:
    """Guards the criterion: zero for channels that are zero, and for those only."""
    core = random_core(RESIDUAL, 16)
    norm = core.get_layer("stage1_block1_1_norm")
    zero = np.isin(np.arange(16), [1, 2, 3, 5, 8, 11, 14, 15])
    norm.set_weights([np.where(zero, 0, values) if i < 2 else values for i, values in enumerate(norm.get_weights())])
    layout = channels.channel_layout(core)
    scores = channels.channel_importance(core, layout, striped_batches(16))
    (group,) = (group for group in layout.groups if group.producers == ["stage1_block1_1_conv"])
    assert (scores[group][zero] == 0).all() and (scores[group][~zero] > 0).all()
