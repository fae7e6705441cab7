"""Weighted pooling for TensorFlow Lite: a multiplication by a constant, then global average pooling.

It equals a depthwise convolution whose kernel covers the whole feature map, for which XNNPACK has no fast kernel: in
int8 on a Xeon the convolution takes 50 of `nano`'s 142 us, the multiplication 1.
"""

from __future__ import annotations

import math
from typing import Any

from feredge.keras import KerasModel, keras
from feredge.train.networks import POOL_LAYER, WEIGHTED_POOL_LAYER


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


def replace_weighted_pool(core: KerasModel) -> KerasModel:
    """Return `core` with its global depthwise convolution as a multiplication; outputs are equal up to rounding."""
    if WEIGHTED_POOL_LAYER not in [layer.name for layer in core.layers]:
        return core
    pool = core.get_layer(WEIGHTED_POOL_LAYER)

    def clone_layer(layer: Any) -> Any:
        if layer is pool:
            return PositionWeights(name=WEIGHTED_POOL_LAYER)
        if layer.name == POOL_LAYER:
            return keras.layers.GlobalAveragePooling2D(name=POOL_LAYER)
        return type(layer).from_config(layer.get_config())

    clone = keras.models.clone_model(core, clone_function=clone_layer)
    for layer in core.layers:
        weights = layer.get_weights()
        if layer is pool:
            (kernel,) = weights  # (H, W, C, 1)
            weights = [kernel[None, ..., 0] * math.prod(kernel.shape[:2])]
        clone.get_layer(layer.name).set_weights(weights)
    return clone
