"""Weighted pooling for TensorFlow Lite: a multiplication by a constant, then global average pooling.

It equals a depthwise convolution whose kernel covers the whole feature map, for which XNNPACK has no fast kernel: in
int8 on a Xeon the convolution takes 50 of `nano`'s 142 us, the multiplication 1.
"""

from __future__ import annotations

import math
from typing import Any

from feredge.keras import keras
from feredge.train.networks import PLACES, POOL


@keras.utils.register_keras_serializable("feredge")
class PositionWeights(keras.layers.Layer):  # type: ignore[misc]
    """Multiplication of `float32 (N, H, W, C)` by a kernel `float32 (1, H, W, C)`."""

    def build(self, input_shape: Any) -> None:
        """Create the kernel."""
        self.kernel = self.add_weight("kernel", (1, *input_shape[1:]))
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Return the product."""
        return inputs * self.kernel


def replace_weighted_pool(core: Any) -> Any:
    """Return `core` with its global depthwise convolution as a multiplication; outputs are equal up to rounding."""
    if PLACES not in [layer.name for layer in core.layers]:
        return core
    places = core.get_layer(PLACES)

    def cloned(layer: Any) -> Any:
        if layer is places:
            return PositionWeights(name=PLACES)
        if layer.name == POOL:
            return keras.layers.GlobalAveragePooling2D(name=POOL)
        return type(layer).from_config(layer.get_config())

    clone = keras.models.clone_model(core, clone_function=cloned)
    for layer in core.layers:
        weights = layer.get_weights()
        if layer is places:
            (kernel,) = weights  # (H, W, C, 1)
            weights = [kernel[None, ..., 0] * math.prod(kernel.shape[:2])]
        clone.get_layer(layer.name).set_weights(weights)
    return clone
