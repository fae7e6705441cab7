"""A network to TensorFlow Lite, by TensorFlow's converter."""

from __future__ import annotations

import tempfile
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
        return _integer(core, calibration) if quantized is None else _converted(quantized, _set_integer)

    def options(converter: Any) -> None:
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]

    return _converted(with_contract(core), options)


def _integer(core: Any, calibration: Images) -> bytes:
    def representative_dataset() -> Iterator[list[Any]]:
        for image in calibration:
            yield [image[None].astype(np.float32) / np.float32(255)]

    def options(converter: Any) -> None:
        _set_integer(converter)
        converter.representative_dataset = representative_dataset
        # Refuses what has no integer kernel; left out after quantization-aware training, which it does not know.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]

    return _converted(core, options)


def _set_integer(converter: Any) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.uint8


def _converted(model: Any, options: Any) -> bytes:
    """Convert by way of a SavedModel with one signature; `from_keras_model` saves every layer and takes far longer."""
    (pixels,) = model.inputs
    signature = tf.TensorSpec(pixels.shape, pixels.dtype, name="image")
    holder = tf.Module()
    holder.weights = model.weights  # not the model: a SavedModel would hold a function of every layer, and take seconds
    serve = tf.function(lambda image: {"probabilities": model(image, training=False)}, input_signature=[signature])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        tf.saved_model.save(holder, folder, signatures=serve.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        options(converter)
        # It misses "statistics for quantized inputs", an option of TensorFlow 1; ranges come from calibration.
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
        return bytes(converter.convert())
