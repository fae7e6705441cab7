"""Channel pruning: what is removed, that it is gone, and that nothing else has changed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from tiny_training import RECIPE, stripes

from feredge.errors import RecipeError
from feredge.keras import keras, seed_everything
from feredge.recipes.schema import Network
from feredge.train import channels
from feredge.train.batches import Batches
from feredge.train.fitting import one_hot
from feredge.train.networks import build_core, multiply_adds

RESIDUAL = Network(stem=16, stem_stride=1, channels=(16, 24), blocks=(2, 1))
WEIGHTED = dataclasses.replace(RESIDUAL, pool="weighted")
NETWORKS = [
    RESIDUAL,
    WEIGHTED,
    Network(name="six-class-cnn"),
    Network(name="three-class-dcnn"),
    None,
]  # None: _depthwise


def _name(network: Network | None) -> str:
    return network.name + "-weighted" * (network.pool == "weighted") if network else "depthwise"


def _core(network: Network | None, size: int = 48) -> Any:
    seed_everything(3)
    core = build_core(network, size=size, classes=7) if network else _depthwise(size)
    rng = np.random.default_rng(0)
    for layer in core.layers:  # fresh normalizations change nothing, and would hide a mixed-up channel
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return core


def _depthwise(size: int) -> Any:
    """Return a residual network of separable convolutions, as mini_XCEPTION is one."""
    layers = keras.layers
    pixels = keras.Input((size, size, 1))
    x = layers.BatchNormalization()(layers.Conv2D(16, 3, use_bias=False)(pixels))
    shortcut = layers.BatchNormalization()(layers.Conv2D(24, 1, 2, padding="same", use_bias=False)(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(24, 1, use_bias=False)(x)))
    x = layers.DepthwiseConv2D(3, 2, padding="same", bias_initializer="random_normal")(x)
    x = layers.Add()([x, shortcut])
    return keras.Model(pixels, layers.Softmax()(layers.GlobalAveragePooling2D()(layers.Conv2D(7, 3)(x))))


def _batches(size: int) -> Batches:
    faces = stripes(56, size=size)
    return Batches(faces.images, one_hot(faces.labels, 7), 16, RECIPE.augmentation, 1)


def _silence(core: Any, found: channels.Layout, kept: channels.Kept) -> None:
    """Make the channels that will go zero wherever they stand, by the layers that come last before they are used."""
    for layer in core.layers:
        group = found.gives[layer.name]
        if group not in kept or not layer.get_weights():
            continue
        places = found.places[layer.name] if layer.name not in group.made_by else 1
        silent = np.setdiff1d(np.arange(group.size), kept[group])
        index = (np.arange(places)[:, None] * group.size + silent).ravel()
        weights = layer.get_weights()
        for values in weights if layer.name in group.made_by else weights[:3]:
            np.moveaxis(values, 2 if values.shape[-1] == 1 else -1, -1)[..., index] = 0.0
        layer.set_weights(weights)


@pytest.mark.parametrize("network", NETWORKS, ids=_name)
def test_removing_channels_that_are_zero_changes_nothing(
    network: Network | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the surgery: additions, normalizations, flattened and depthwise channels. One off gives other answers."""
    size = 16 if network is None or network.name == "residual" else 48
    core, images = _core(network, size), stripes(8, size=size).batch / np.float32(255)
    found = channels.layout(core)
    rng = np.random.default_rng(1)
    kept = {group: np.sort(rng.permutation(group.size)[: group.size - 8]) for group in found.groups if group.size > 8}
    _silence(core, found, kept)
    monkeypatch.setattr(channels, "choose", lambda *_: kept)
    monkeypatch.setattr(channels, "layout", lambda _: found)
    monkeypatch.setattr(channels, "importance", lambda *_: {})
    slim = channels.remove_channels(core, 0.5, _batches(size))
    assert slim.count_params() < core.count_params()
    # Sums over fewer terms are taken in another order: a few bits of float32.
    np.testing.assert_allclose(slim(images).numpy(), core(images).numpy(), atol=2e-6)


def test_channels_that_are_added_are_one_group() -> None:
    """Guards residual networks: a stage's stream has one set of channels from its first layer to its last."""
    groups = [sorted(group.made_by) for group in channels.layout(_core(RESIDUAL, 16)).groups]
    assert groups == [
        ["stage1_block1_2_conv", "stage1_block2_2_conv", "stem_conv"],
        ["stage1_block1_1_conv"],
        ["stage1_block2_1_conv"],
        ["stage2_block1_1_conv"],
        ["stage2_block1_2_conv", "stage2_block1_shortcut_conv"],
    ]


@pytest.mark.parametrize("network", [RESIDUAL, None], ids=["residual", "depthwise"])
def test_the_multiply_adds_are_gone(network: Network | None) -> None:
    """Guards the name's promise, and that every width that was changed is a multiple of eight."""
    core = _core(network, 16)
    slim = channels.remove_channels(core, 0.5, _batches(16))
    assert multiply_adds(slim) <= 0.5 * multiply_adds(core)
    assert {group.size % 8 for group in channels.layout(slim).groups} == {0}
    assert slim.output_shape == core.output_shape


def test_the_least_important_channels_go() -> None:
    """Guards the criterion: channels that are silent matter nothing, so they are the ones to go."""
    core = _core(RESIDUAL, 16)
    norm = core.get_layer("stage1_block1_1_norm")
    silent = np.isin(np.arange(16), [1, 2, 3, 5, 8, 11, 14, 15])
    norm.set_weights([np.where(silent, 0, values) if i < 2 else values for i, values in enumerate(norm.get_weights())])
    found = channels.layout(core)
    scores = channels.importance(core, found, _batches(16))
    (group,) = (group for group in found.groups if group.made_by == ["stage1_block1_1_conv"])
    assert (scores[group][silent] == 0).all() and (scores[group][~silent] > 0).all()
    kept = channels.choose(core, found, scores, 0.05)
    np.testing.assert_array_equal(kept[group], np.flatnonzero(~silent))
    assert all(len(kept[other]) == other.size for other in found.groups if other is not group)


def test_what_cannot_be_removed_is_said() -> None:
    """Guards against a network that is cut to nothing, and against layers whose channels nobody followed."""
    core = _core(dataclasses.replace(RESIDUAL, channels=(8, 8), stem=8), 16)
    with pytest.raises(RecipeError, match="expected at most 0% of the multiply-adds"):
        channels.remove_channels(core, 0.5, _batches(16))
    pixels = keras.Input((16, 16, 1))
    mixed = keras.layers.Flatten()(keras.layers.LayerNormalization(name="mixed")(keras.layers.Conv2D(16, 3)(pixels)))
    with pytest.raises(RecipeError, match=r"found LayerNormalization \(mixed\)"):
        channels.layout(keras.Model(pixels, keras.layers.Dense(7, "softmax")(mixed)))
