"""TensorFlow's configuration: which GPUs it sees, and a crash of its native code that is avoided."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("tensorflow")


@pytest.mark.parametrize(("setting", "visible"), [("", "0"), ("0", "-1")])
def test_a_gpu_is_visible_unless_it_is_switched_off(setting: str, visible: str) -> None:
    """Guards FEREDGE_GPU: a GPU is hidden on request only, and the user's CUDA_VISIBLE_DEVICES is kept."""
    code = "import feredge.keras, os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "0", "FEREDGE_GPU": setting}
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert process.stdout.strip() == visible


GRADIENT_SCRIPT = """
import numpy as np
from feredge.keras import keras, rewrite_strided_pointwise, tf
images = tf.constant(np.random.default_rng(1).random((128, 60, 60, 8), np.float32))
inputs = keras.layers.Input((60, 60, 8))
model = keras.Model(inputs, keras.layers.Conv2D(16, 1, strides=2, padding="same", use_bias=False)(inputs))
before = model(images).numpy()
@tf.function
def step():
    with tf.GradientTape() as tape:
        outputs = rewrite_strided_pointwise(model)(images)
        loss = tf.reduce_sum(tf.square(outputs))
    return outputs, tape.gradient(loss, model.trainable_variables)[0]
outputs, gradient = (tensor.numpy() for tensor in step())
np.testing.assert_array_equal(outputs, before)
subsampled = images.numpy()[:, ::2, ::2].reshape(-1, 8).astype(np.float64)
exact = 2 * subsampled.T @ (subsampled @ model.get_weights()[0][0, 0].astype(np.float64))
np.testing.assert_allclose(gradient[0, 0], exact, rtol=1e-3)  # sums of 115,200 float32 products
"""


def test_a_strided_pointwise_convolution_is_fitted() -> None:
    """Guards against a crash: oneDNN's weight gradient of such a convolution of 8 channels fails on AVX-512."""
    process = subprocess.run([sys.executable, "-c", GRADIENT_SCRIPT], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
