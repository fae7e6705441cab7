"""Conversion of a core to TensorFlow Lite by TensorFlow's converter."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from feredge.export.passes import DENSE_VARIANT, Target, run_network_passes, weight_quantization_of
from feredge.export.tflite.per_tensor import requantize_per_tensor
from feredge.inference.contract import Images
from feredge.keras import KerasModel, tf
from feredge.recipes.variant import Variant
from feredge.train.networks import with_contract


def to_tflite(core: KerasModel, precision: str, *, calibration: Images, variant: Variant = DENSE_VARIANT) -> bytes:
    """Return a flatbuffer that takes `uint8 (N, H, W, C)` images, for any N after `resize_tensor_input`.

    For static int8 see int8.py, and `trained_to_tflite`. `dynamic-int8` stores kernels of at least SMALL_KERNEL
    values in int8; LiteRT quantizes the activations of each image at run time. `int16x8` has int8 kernels and int16
    activations; its probabilities are float32.

    Args:
        core: the network of `variant`, `float32 (N, H, W, C)` in [0, 1] to probabilities.
        precision: `float32`, `float16`, `dynamic-int8` or `int16x8`.
        calibration: `uint8 (N, H, W, C)`, used for `int16x8`, and to check passes in debug runs.
        variant: of the network.
    """

    def representative_dataset() -> Iterator[list[Any]]:
        for image in calibration:
            yield [image[None]]

    def set_options(converter: Any) -> None:
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int16x8":
            converter.representative_dataset = representative_dataset
            converter.target_spec.supported_ops = [
                tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
                tf.lite.OpsSet.TFLITE_BUILTINS,  # Cast from uint8
            ]

    target = Target(variant, precision, "tflite")
    core = run_network_passes(core, target, calibration)
    model = run_converter(with_contract(core), set_options)
    integers = precision in ("dynamic-int8", "int16x8")
    if integers and weight_quantization_of(target).granularity == "per_tensor":
        return requantize_per_tensor(model, run_converter(with_contract(core), lambda converter: None))
    return model


def trained_to_tflite(quantized: KerasModel) -> bytes:
    """Return the int8 flatbuffer of a core after quantization-aware training, with its trained ranges."""
    return run_converter(quantized, set_int8_options)


def set_int8_options(converter: Any) -> None:
    """Set a converter to int8 with `uint8` input and output.

    The input of a core is calibrated to exactly [0, 1]: scale 1/255 and zero point 0. So the quantized input is the
    image itself, and no operator scales it.
    """
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.uint8


def run_converter(model: Any, set_options: Callable[[Any], None]) -> bytes:
    """Convert a SavedModel of one signature; `from_keras_model` saves every layer and takes far longer."""
    (pixels,) = model.inputs
    signature = tf.TensorSpec(pixels.shape, pixels.dtype, name="image")
    holder = tf.Module()
    holder.weights = model.weights  # not the model, or a function of every layer would be saved, which takes seconds
    serve = tf.function(lambda image: {"probabilities": model(image, training=False)}, input_signature=[signature])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        tf.saved_model.save(holder, folder, signatures=serve.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        # TensorFlow Lite up to 2.9 reads the first scale of a dense kernel only, and its accuracy is at chance.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
        set_options(converter)
        # It warns that "statistics for quantized inputs", an option of TensorFlow 1, are not set.
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
        return bytes(converter.convert())
