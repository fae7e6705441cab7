"""TensorFlow, set up in one place before its first import: legacy Keras, quiet logs, threads, seeds, precision.

`tensorflow-model-optimization` works on Keras 2 only, hence `tf_keras`. Only train/ and export/ import this.
A GPU that TensorFlow knows is used; `FEREDGE_GPU=0` hides it, which gives the same bits as a machine without one.
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
def silenced() -> Iterator[None]:
    """Send standard error nowhere inside the block, for what native code prints past its log level."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if os.environ.get("FEREDGE_GPU") == "0":
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # before the import: TensorFlow looks for GPUs once

with silenced():
    import tensorflow as tf
    import tf_keras as keras

__all__ = ["has_bfloat16", "keras", "safe_to_fit", "seed_everything", "silenced", "tf"]

tf.get_logger().setLevel("ERROR")
for gpu in tf.config.list_physical_devices("GPU"):
    tf.config.experimental.set_memory_growth(gpu, True)  # an export's workers share it
tf.config.experimental.enable_tensor_float_32_execution(False)  # float32 networks are what files are measured against


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and TensorFlow, and make TensorFlow choose deterministic kernels."""
    keras.utils.set_random_seed(seed)  # all three, and Keras's own generator where somebody has set that before
    tf.config.experimental.enable_op_determinism()


def has_bfloat16() -> bool:
    """Say whether this CPU multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    return not cpu_flags().isdisjoint(("avx512_bf16", "amx_bf16"))


def safe_to_fit(model: Any) -> Any:
    """Return `model`, whose strided convolutions of one pixel now skip pixels first and multiply then.

    The numbers are the same. But oneDNN's kernel for the gradient of their weights (`jit_1x1:avx512_core`, float32)
    ends the process where the input's channels are no multiple of 16.
    """
    for layer in model.layers:
        inner = getattr(layer, "layer", layer)  # what quantization-aware training wraps
        strided = type(inner) is keras.layers.Conv2D and inner.kernel_size == (1, 1) and max(inner.strides) > 1
        if strided and inner.kernel.shape[2] % 16:
            inner.convolution_op = functools.partial(_pointwise, strides=inner.strides)
    return model


def _pointwise(x: Any, kernel: Any, *, strides: tuple[int, int]) -> Any:
    return tf.nn.conv2d(x[:, :: strides[0], :: strides[1]], kernel, 1, "VALID")
