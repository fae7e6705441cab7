"""TensorFlow and legacy Keras, configured before the first import: logging, GPUs, seeds, determinism.

`tensorflow-model-optimization` requires Keras 2, hence `tf_keras`. Only train/, compress/, importing/ and export/
import this module. TensorFlow uses a GPU where it finds one; `FEREDGE_GPU=0` hides it, and results are then
bit-equal to those of a machine without a GPU.
"""
# ruff: noqa: TID251

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from feredge.inference.system_info import cpu_flags


@contextmanager
def suppressed_stderr() -> Iterator[None]:
    """Redirect file descriptor 2 to the null device inside the block: native code ignores the log level."""
    saved_stderr, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(saved_stderr, 2)
        os.close(saved_stderr)
        os.close(devnull)


os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if os.environ.get("FEREDGE_GPU") == "0":
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # before the import, at which TensorFlow enumerates GPUs

with suppressed_stderr():
    import tensorflow as tf
    import tf_keras as keras

__all__ = [
    "KerasLayer",
    "KerasModel",
    "Tensor",
    "has_bfloat16",
    "keras",
    "rewrite_strided_pointwise",
    "seed_everything",
    "suppressed_stderr",
    "tf",
]

# Names for readers: neither Keras 2 nor TensorFlow has type annotations.
KerasModel = Any
KerasLayer = Any
Tensor = Any

tf.get_logger().setLevel("ERROR")
# Keras calls grouped convolutions in an XLA function, which tf2onnx cannot read. TensorFlow's CPU kernels have groups.
keras.layers.Conv2D._jit_compiled_convolution_op = keras.layers.Conv2D.convolution_op
for gpu in tf.config.list_physical_devices("GPU"):
    tf.config.experimental.set_memory_growth(gpu, True)  # an export's worker processes share it
tf.config.experimental.enable_tensor_float_32_execution(False)  # float32 networks are the reference for exported files


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and TensorFlow, and enable TensorFlow's deterministic kernels."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def has_bfloat16() -> bool:
    """Return whether this CPU has bfloat16 instructions; emulated bfloat16 is slower than float32."""
    return not cpu_flags().isdisjoint(("avx512_bf16", "amx_bf16"))


def rewrite_strided_pointwise(model: KerasModel) -> KerasModel:
    """Make strided 1x1 convolutions of `model` subsample their input first, in place. Return `model`.

    The outputs are the same. oneDNN's weight gradient of a strided 1x1 convolution (`jit_1x1:avx512_core`, float32)
    crashes the process where the number of input channels is no multiple of 16.
    """
    for layer in model.layers:
        inner = getattr(layer, "layer", layer)  # unwrap quantization-aware layers
        strided = type(inner) is keras.layers.Conv2D and inner.kernel_size == (1, 1) and max(inner.strides) > 1
        if strided and inner.kernel.shape[2] % 16:
            inner.convolution_op = functools.partial(_subsampled_pointwise, strides=inner.strides)
    return model


def _subsampled_pointwise(x: Tensor, kernel: Tensor, *, strides: tuple[int, int]) -> Tensor:
    return tf.nn.conv2d(x[:, :: strides[0], :: strides[1]], kernel, 1, "VALID")
