"""TensorFlow as it is set up here: what its native code must be kept from."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("tensorflow")


@pytest.mark.parametrize(("setting", "visible"), [("", "0"), ("0", "-1")])
def test_a_gpu_is_seen_unless_it_is_switched_off(setting: str, visible: str) -> None:
    """Guards the setting: nothing hides a GPU in silence, and the user's own choice of one stands."""
    code = "import feredge.keras, os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "0", "FEREDGE_GPU": setting}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == visible


STEP = """
import numpy as np
from feredge.keras import keras, safe_to_fit, tf
images = tf.constant(np.random.default_rng(1).random((128, 60, 60, 8), np.float32))
entered = keras.layers.Input((60, 60, 8))
model = keras.Model(entered, keras.layers.Conv2D(16, 1, strides=2, padding="same", use_bias=False)(entered))
before = model(images).numpy()
@tf.function
def step():
    with tf.GradientTape() as tape:
        answers = safe_to_fit(model)(images)
        loss = tf.reduce_sum(tf.square(answers))
    return answers, tape.gradient(loss, model.trainable_variables)[0]
answers, gradient = (found.numpy() for found in step())
np.testing.assert_array_equal(answers, before)
seen = images.numpy()[:, ::2, ::2].reshape(-1, 8).astype(np.float64)
exact = 2 * seen.T @ (seen @ model.get_weights()[0][0, 0].astype(np.float64))
np.testing.assert_allclose(gradient[0, 0], exact, rtol=1e-3)  # sums of 115,200 float32 products
"""


def test_a_strided_pointwise_convolution_is_fitted() -> None:
    """Guards against a crash: oneDNN's gradient of such a convolution of 8 channels ends the process on AVX-512."""
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
