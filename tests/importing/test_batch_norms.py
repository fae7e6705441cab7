"""Batch normalization is folded on import: a network has the same core from its Keras file and from its ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tf2onnx
from tiny_training import stripes

from feredge.importing.layers import as_core
from feredge.importing.network import NetworkInput
from feredge.importing.onnx.network import open_onnx
from feredge.keras import keras, tf
from feredge.train.networks import make_predict_function

layers = keras.layers


def _network() -> Any:
    """Return a network with every normalization that can be folded, and one that cannot, after a ReLU."""
    keras.utils.set_random_seed(5)
    pixels = keras.Input((16, 16, 1))
    x = layers.BatchNormalization(scale=False)(layers.Conv2D(6, 3, use_bias=False)(pixels))
    x = layers.BatchNormalization()(layers.ReLU()(x))
    x = layers.BatchNormalization(center=False)(layers.DepthwiseConv2D(3, depth_multiplier=2)(x))
    x = layers.BatchNormalization()(layers.Dense(8)(layers.GlobalAveragePooling2D()(x)))
    network = keras.Model(pixels, layers.Dense(7, activation="softmax")(layers.ReLU()(x)))
    rng = np.random.default_rng(5)
    network.set_weights([rng.uniform(0.3, 1.5, weight.shape) for weight in network.get_weights()])
    return network


def test_keras_and_onnx_give_the_same_core(tmp_path: Path, childless: None) -> None:
    """Guards int8 files that differ with the format of the import: scales that were folded in one of them only."""
    network, images = _network(), stripes(16).images
    path = tmp_path / "net.onnx"
    signature = [tf.TensorSpec(network.input_shape, tf.float32, name="x")]
    tf2onnx.convert.from_keras(network, input_signature=signature, opset=17, output_path=str(path))
    _, from_onnx = open_onnx(path, images, NetworkInput(16, 16, -1.0, 1.0))
    cores = [as_core(source, size=16, low=-1.0, high=1.0) for source in (network, from_onnx)]
    kinds = [[type(layer).__name__ for layer in core.layers if layer.weights] for core in cores]
    assert kinds[0] == kinds[1] == ["Conv2D", "BatchNormalization", "DepthwiseConv2D", "Dense", "Dense"]
    expected = network.predict(images.astype(np.float32) / 127.5 - 1, verbose=0)
    for core in cores:  # sums in another order
        np.testing.assert_allclose(make_predict_function(core)(images), expected, atol=1e-5)
    for first, second in zip(*(core.get_weights() for core in cores), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)  # folded in float32 by the exporter
