"""A network to TensorFlow Lite, by TensorFlow's converter."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from feredge.compress.rounding import SUM_PRESERVING, WeightQuantization, with_rounded_kernels
from feredge.export.tflite.per_tensor import with_one_scale
from feredge.export.tflite.weighted_pool import with_products
from feredge.inference.contract import Images
from feredge.inspection.weights import SMALL_KERNEL
from feredge.keras import tf
from feredge.train.networks import with_contract


def to_tflite(
    core: Any,
    precision: str,
    *,
    calibration: Images,
    weight_quantization: WeightQuantization = SUM_PRESERVING,
) -> bytes:
    """Return a flatbuffer that takes `uint8 (N, H, W, C)` pixels, for any N after `resize_tensor_input`.

    For int8 see int8_tflite.py, and `trained_int8`. `dynamic-int8` keeps kernels of at least 1,024 values in int8 and
    leaves activations to the runtime: LiteRT quantizes them image by image as it goes. `int16x8` has int8 kernels
    and int16 activations; probabilities come out in float32.

    Args:
        core: `float32 (N, H, W, C)` in [0, 1] to probabilities.
        precision: `float32`, `float16`, `dynamic-int8` or `int16x8`.
        calibration: `uint8 (N, H, W, C)`, read for `int16x8` only.
        weight_quantization: rounding and granularity of int8 kernels.
    """

    def representative_dataset() -> Iterator[list[Any]]:
        for image in calibration:
            yield [image[None]]

    def options(converter: Any) -> None:
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int16x8":
            converter.representative_dataset = representative_dataset
            converter.target_spec.supported_ops = [
                tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
                tf.lite.OpsSet.TFLITE_BUILTINS,  # the pixels' way to int16 is a Cast
            ]

    integers = precision in ("dynamic-int8", "int16x8")
    if not integers:  # `dynamic-int8` keeps every large kernel in int8, and a product has none
        core = with_products(core)
    if integers and weight_quantization.rounding == "sum_preserving":
        core = with_rounded_kernels(core, min_size=SMALL_KERNEL if precision == "dynamic-int8" else 0)
    model = converted(with_contract(core), options)
    if integers and weight_quantization.granularity == "per_tensor":
        return with_one_scale(model, converted(with_contract(core), lambda converter: None))
    return model


def trained_int8(quantized: Any) -> bytes:
    """Return the int8 flatbuffer of a core after quantization-aware training, with the ranges learnt there."""
    return converted(quantized, set_integer)


def set_integer(converter: Any) -> None:
    """Ask for int8.

    A core's input is calibrated to exactly [0, 1]: its scale is then 1/255 and its zero point 0, so that raw pixels
    are the integer tensor and scaling costs no operation. Every tensor is an integer, the output too.
    """
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.uint8


def converted(model: Any, options: Callable[[Any], None]) -> bytes:
    """Convert by way of a SavedModel with one signature; `from_keras_model` saves every layer and takes far longer."""
    (pixels,) = model.inputs
    signature = tf.TensorSpec(pixels.shape, pixels.dtype, name="image")
    holder = tf.Module()
    holder.weights = model.weights  # not the model: a SavedModel would hold a function of every layer, and take seconds
    serve = tf.function(lambda image: {"probabilities": model(image, training=False)}, input_signature=[signature])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        tf.saved_model.save(holder, folder, signatures=serve.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        # Up to 2.9, TensorFlow Lite reads the first scale of a dense kernel only, and answers at chance.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
        options(converter)
        # It misses "statistics for quantized inputs", an option of TensorFlow 1; ranges come from calibration.
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
        return bytes(converter.convert())
