"""Static int8 for TensorFlow Lite: calibrated once, then quantized as often as layers are tried.

The converter itself knows min-max only, and not of every tensor. It leaves what it saw in the calibrated float model,
so the ranges of ranges.py are written there before its quantizer reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.compress import ranges
from feredge.compress.rounding import SUM_PRESERVING, WeightQuantization, round_preserving_sums
from feredge.export.tflite.converter import converted, set_integer
from feredge.export.tflite.integer_elu import with_integer_elus
from feredge.export.tflite.weighted_pool import with_products
from feredge.inference.contract import Images
from feredge.inspection import flatbuffer
from feredge.keras import tf

BATCH = 32  # images whose extremes a moving average takes together


class Int8TFLite:
    """A core, calibrated.

    Attributes:
        layers: those with kernels, by their Keras names, in the graph's order.
    """

    def __init__(
        self,
        core: Any,
        calibration: Images,
        *,
        method: str = "min-max",
        weight_quantization: WeightQuantization = SUM_PRESERVING,
    ) -> None:
        """Calibrate.

        Args:
            core: `float32 (N, H, W, C)` in [0, 1] to probabilities.
            calibration: `uint8 (N, H, W, C)`, the first of which must hold the values 0 and 255.
            method: of ranges.py.
            weight_quantization: rounding and granularity of the kernels.
        """
        self._weight_quantization = weight_quantization
        # The converter's own ranges are replaced, so that it sees one image only: it reads what goes into a sum or a
        # product after it, and finds the result there where both share their memory (tensorflow/tensorflow#127842).
        calibrated = _calibrated(with_products(core), calibration[:1])
        found = ranges.calibrate_ranges(lambda: _activations(calibrated, calibration), method)
        self._calibrated = _with_ranges(calibrated, found)
        self._outputs = flatbuffer.kernel_outputs(self._calibrated)
        self.layers = tuple(self._outputs)

    def quantize(self, keep_float: Collection[str] = ()) -> bytes:
        """Return the int8 flatbuffer, `uint8` in and out, with the layers `keep_float` in float32."""
        from tensorflow.lite.python.convert import mlir_quantize  # noqa: TID251

        sum_preserving = self._weight_quantization.rounding == "sum_preserving"
        quantized = mlir_quantize(
            _rounded(self._calibrated, keep_float) if sum_preserving else self._calibrated,
            disable_per_channel=self._weight_quantization.granularity == "per_tensor",
            disable_per_channel_for_dense_layers=True,
            input_data_type=tf.uint8,
            output_data_type=tf.uint8,
            denylisted_nodes=[self._outputs[layer] for layer in keep_float],
        )
        return with_integer_elus(bytes(quantized))

    def outputs(self, model: bytes, images: Images) -> dict[str, NDArray[np.float32]]:
        """Return what each layer of a model that `quantize` gave has as its output."""
        interpreter = flatbuffer.preserving_interpreter(model)
        given = interpreter.get_input_details()[0]["index"]
        places = {detail["name"]: detail["index"] for detail in interpreter.get_tensor_details()}
        found: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in self.layers}
        for image in images:
            interpreter.set_tensor(given, image[None])
            interpreter.invoke()
            for layer, name in self._outputs.items():
                found[layer].append(flatbuffer.float_values(interpreter, places[name]))
        return {layer: np.concatenate(values) for layer, values in found.items()}


def _calibrated(core: Any, calibration: Images) -> bytes:
    """Return the float flatbuffer of `core`, with the extremes that each tensor had over the images."""

    def representative_dataset() -> Iterator[list[Any]]:
        for image in calibration:
            yield [image[None].astype(np.float32) / np.float32(255)]

    def options(converter: Any) -> None:
        set_integer(converter)
        converter.representative_dataset = representative_dataset
        # Refuses what has no integer kernel.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter._experimental_calibrate_only = True

    return converted(core, options)


def _activations(model: bytes, images: Images) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield every float tensor that `model` computes, batch by batch."""
    interpreter = flatbuffer.preserving_interpreter(model)
    given = interpreter.get_input_details()[0]["index"]
    names = flatbuffer.float_activations(model)
    for at in range(0, len(images), BATCH):
        found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names.values()}
        for image in images[at : at + BATCH]:
            interpreter.set_tensor(given, image[None].astype(np.float32) / np.float32(255))
            interpreter.invoke()
            for index, name in names.items():
                found[name].append(interpreter.get_tensor(index))
        yield {name: np.concatenate(values) for name, values in found.items()}


def _rounded(model: bytes, keep_float: Collection[str]) -> bytes:
    """Return a float flatbuffer whose convolutions have rounded kernels, but for the layers `keep_float`."""
    parsed = flatbuffer.parse(model)
    for kind, operator in zip(flatbuffer.operator_names(parsed), parsed.subgraphs[0].operators, strict=True):
        if kind == "CONV_2D" and flatbuffer.layer_of(flatbuffer.output_name(parsed, operator)) not in keep_float:
            kernel = flatbuffer.constant(parsed, operator.inputs[1])
            flatbuffer.store(parsed, operator.inputs[1], round_preserving_sums(kernel, axis=0))
    return flatbuffer.pack(parsed)


def _with_ranges(model: bytes, found: ranges.Ranges) -> bytes:
    parsed = flatbuffer.parse(model)
    for tensor in parsed.subgraphs[0].tensors:
        name = tensor.name.decode()
        if name in found and tensor.quantization is not None and tensor.quantization.min is not None:
            low, high = found[name]
            tensor.quantization.min, tensor.quantization.max = np.array([low], np.float32), np.array([high], np.float32)
    return flatbuffer.pack(parsed)
