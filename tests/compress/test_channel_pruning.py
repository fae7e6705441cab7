"""Channel pruning: how many channels are removed, and which."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tiny_networks import GATED, RESIDUAL, random_core, striped_batches
from tiny_training import stripes

from feredge.compress.channel_pruning import choose_channels, prune_channels
from feredge.errors import RecipeError
from feredge.recipes.schema import Network
from feredge.train.channels import channel_importance, channel_layout
from feredge.train.networks import multiply_adds


@pytest.mark.parametrize("network", [RESIDUAL, GATED, None], ids=["residual", "gated", "separable"])
def test_the_multiply_adds_are_removed(network: Network | None) -> None:
    """Guards the variant's name, and that every group's size is a multiple of eight."""
    core = random_core(network, 16)
    pruned = prune_channels(core, 0.5, striped_batches(16))
    assert multiply_adds(pruned) <= 0.5 * multiply_adds(core)
    assert {group.size % 8 for group in channel_layout(pruned).groups} == {0}
    assert pruned.output_shape == core.output_shape


def test_the_least_important_channels_are_removed() -> None:
    """Guards the choice: channels that are zero are the ones to remove, and removing them changes nothing."""
    core = random_core(RESIDUAL, 16)
    norm = core.get_layer("stage1_block1_1_norm")
    zero = np.isin(np.arange(16), [1, 2, 3, 5, 8, 11, 14, 15])
    norm.set_weights([np.where(zero, 0, values) if i < 2 else values for i, values in enumerate(norm.get_weights())])
    layout = channel_layout(core)
    (group,) = (group for group in layout.groups if group.producers == ["stage1_block1_1_conv"])
    kept_channels = choose_channels(core, layout, channel_importance(core, layout, striped_batches(16)), 0.05)
    np.testing.assert_array_equal(kept_channels[group], np.flatnonzero(~zero))
    assert all(len(kept_channels[other]) == other.size for other in layout.groups if other is not group)
    images = stripes(8, size=16).images / np.float32(255)
    pruned = prune_channels(core, 0.05, striped_batches(16))
    assert pruned.count_params() < core.count_params()
    # Sums over fewer terms are taken in another order: a few bits of float32.
    np.testing.assert_allclose(pruned(images).numpy(), core(images).numpy(), atol=2e-6)


def test_a_share_that_cannot_be_removed_is_refused() -> None:
    """Guards against a network that is pruned to nothing."""
    core = random_core(dataclasses.replace(RESIDUAL, channels=(8, 8), stem=8), 16)
    with pytest.raises(RecipeError, match="expected at most 0% of the multiply-adds"):
        prune_channels(core, 0.5, striped_batches(16))
