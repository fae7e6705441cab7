"""Small untrained networks whose channels are removed, and batches of images for them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from tiny_training import RECIPE, stripes

from feredge.keras import keras, seed_everything
from feredge.recipes.schema import Network
from feredge.train.batches import Batches
from feredge.train.fitting import one_hot
from feredge.train.networks import build_core

RESIDUAL = Network(stem=16, stem_stride=1, channels=(16, 24), blocks=(2, 1))
GATED = dataclasses.replace(RESIDUAL, channels=(16, 32), squeeze_excitation=2)
WEIGHTED = dataclasses.replace(RESIDUAL, pool="weighted")


def random_core(network: Network | None, size: int = 48) -> Any:
    """Return a core whose batch normalizations are no identities, which would hide a mixed-up channel.

    Without a `network` it is a residual one of separable convolutions, like mini_XCEPTION.
    """
    seed_everything(3)
    core = build_core(network, size=size, classes=7) if network else _separable(size)
    rng = np.random.default_rng(0)
    for layer in core.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return core


def _separable(size: int) -> Any:
    layers = keras.layers
    pixels = keras.Input((size, size, 1))
    x = layers.BatchNormalization()(layers.Conv2D(16, 3, use_bias=False)(pixels))
    shortcut = layers.BatchNormalization()(layers.Conv2D(24, 1, 2, padding="same", use_bias=False)(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(24, 1, use_bias=False)(x)))
    x = layers.DepthwiseConv2D(3, 2, padding="same", bias_initializer="random_normal")(x)
    x = layers.Add()([x, shortcut])
    return keras.Model(pixels, layers.Softmax()(layers.GlobalAveragePooling2D()(layers.Conv2D(7, 3)(x))))


def striped_batches(size: int) -> Batches:
    """Return batches of 16 of 56 images."""
    faces = stripes(56, size=size)
    return Batches(faces.images, one_hot(faces.labels, 7), 16, RECIPE.augmentation, 1)
