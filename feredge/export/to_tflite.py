"""A network to TensorFlow Lite, by TensorFlow's converter."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from feredge.contract import Images
from feredge.keras import tf
from feredge.train.networks import with_contract


def to_tflite(core: Any, precision: str, *, calibration: Images, quantized: Any = None) -> bytes:
    """Return a flatbuffer that takes `uint8 (N, H, W, C)` pixels, for any N after `resize_tensor_input`.

    `int8` is converted from the core, whose input is calibrated to exactly [0, 1]: its scale is then 1/255 and
    its zero point 0, so that raw pixels are the integer tensor and scaling costs no operation. Every tensor in
    it is an integer, the output too. `dynamic-int8` keeps kernels of at least 1,024 values in int8 and leaves
    activations to the runtime: LiteRT quantizes them image by image as it goes.

    Args:
        core: `float32 (N, H, W, C)` in [0, 1] to probabilities.
        precision: `float32`, `float16`, `dynamic-int8` or `int8`.
        calibration: `uint8 (N, H, W, C)`, which must hold the values 0 and 255; read for `int8` only.
        quantized: the core after quantization-aware training; `int8` then takes the ranges learnt there.
    """
    if precision == "int8":
        return _integer(core, calibration) if quantized is None else _trained_integer(quantized)
    converter = tf.lite.TFLiteConverter.from_keras_model(with_contract(core))
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    return _converted(converter)


def _integer(core: Any, calibration: Images) -> bytes:
    def representative_dataset() -> Iterator[list[Any]]:
        for image in calibration:
            yield [image[None].astype(np.float32) / np.float32(255)]

    converter = tf.lite.TFLiteConverter.from_keras_model(core)
    converter.representative_dataset = representative_dataset
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]  # refuses what has no integer kernel
    return _converted(_with_integer_ends(converter))


def _trained_integer(quantized: Any) -> bytes:
    return _converted(_with_integer_ends(tf.lite.TFLiteConverter.from_keras_model(quantized)))


def _with_integer_ends(converter: Any) -> Any:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    return converter


def _converted(converter: Any) -> bytes:
    with warnings.catch_warnings():
        # It misses "statistics for quantized inputs", an option of TensorFlow 1; ranges come from calibration.
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
        return bytes(converter.convert())
