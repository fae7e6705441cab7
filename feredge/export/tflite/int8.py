"""Static int8 for TensorFlow Lite: calibrated once, then quantized with any choice of float32 layers.

The converter's calibration has min-max ranges only. It stores them in the calibrated float model, where those of the
operators' outputs are replaced by those of ranges.py before its quantizer runs.
"""

from __future__ import annotations

import queue
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.compress import ranges
from feredge.compress.rounding import SUM_PRESERVING, WeightQuantization, round_preserving_sums
from feredge.export.passes import CHECKED_IMAGES, ROUND_GRAPH_KERNELS, check_pass
from feredge.export.tflite.converter import run_converter, set_int8_options
from feredge.export.tflite.integer_elu import convert_elus_to_int8
from feredge.inference.contract import Images
from feredge.inference.runtimes import available_cores
from feredge.inspection import flatbuffer
from feredge.keras import KerasModel, tf

CALIBRATION_BATCH = 32  # images of one step of a moving average
MAX_CALIBRATION_THREADS = 2  # each has all activations of an image in memory


class Int8TFLite:
    """A calibrated core: a network without the `uint8` input and its scaling layer.

    Attributes:
        layers: Keras names of the layers with kernels, in the graph's order.
    """

    def __init__(
        self,
        core: KerasModel,
        calibration: Images,
        *,
        method: str = "min-max",
        weight_quantization: WeightQuantization = SUM_PRESERVING,
    ) -> None:
        """Calibrate.

        Args:
            core: `float32 (N, H, W, C)` in [0, 1] to probabilities, after the passes for int8.
            calibration: `uint8 (N, H, W, C)`, the first of which must hold the values 0 and 255.
            method: of ranges.py.
            weight_quantization: rounding and granularity of the weights.
        """
        self._weight_quantization = weight_quantization
        self._check_images = calibration[:CHECKED_IMAGES]
        # One image suffices: the input's range is that of 0 and 255, and the others are replaced. They would be wrong
        # for inputs of a sum or a product that share its result's memory: they are read after the operator
        # (tensorflow/tensorflow#127842).
        calibrated = _converter_calibrated(core, calibration[:1])
        tensor_ranges = ranges.calibrate_ranges(lambda: _activations(calibrated, calibration), method)
        self._calibrated = _set_ranges(calibrated, tensor_ranges)
        self._outputs = flatbuffer.kernel_outputs(self._calibrated)
        self.layers = tuple(self._outputs)

    def quantize(self, keep_float: Collection[str] = ()) -> bytes:
        """Return the int8 flatbuffer, `uint8` in and out, with the layers `keep_float` in float32."""
        from tensorflow.lite.python.convert import mlir_quantize  # noqa: TID251

        model = self._calibrated
        if self._weight_quantization.rounding == "sum_preserving":
            model = _rounded(model, keep_float)
            check_pass(ROUND_GRAPH_KERNELS, "int8", self._calibrated, model, self._check_images)
        quantized = mlir_quantize(
            model,
            disable_per_channel=self._weight_quantization.granularity == "per_tensor",
            disable_per_channel_for_dense_layers=True,
            input_data_type=tf.uint8,
            output_data_type=tf.uint8,
            denylisted_nodes=[self._outputs[layer] for layer in keep_float],
        )
        return convert_elus_to_int8(bytes(quantized))

    def layer_outputs(self, model: bytes, images: Images) -> dict[str, NDArray[np.float32]]:
        """Return the dequantized output of each layer of a model that `quantize` returned."""
        interpreter = flatbuffer.preserving_interpreter(model)
        input_index = interpreter.get_input_details()[0]["index"]
        indices = {detail["name"]: detail["index"] for detail in interpreter.get_tensor_details()}
        outputs: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in self.layers}
        for image in images:
            interpreter.set_tensor(input_index, image[None])
            interpreter.invoke()
            for layer, name in self._outputs.items():
                outputs[layer].append(flatbuffer.float_values(interpreter, indices[name]))
        return {layer: np.concatenate(values) for layer, values in outputs.items()}


def _converter_calibrated(core: KerasModel, calibration: Images) -> bytes:
    """Return the float flatbuffer of `core` with the converter's min-max ranges."""

    def representative_dataset() -> Iterator[list[Any]]:
        for image in calibration:
            yield [image[None].astype(np.float32) / np.float32(255)]

    def set_options(converter: Any) -> None:
        set_int8_options(converter)
        converter.representative_dataset = representative_dataset
        # Refuses operators without an integer implementation.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter._experimental_calibrate_only = True

    return run_converter(core, set_options)


def _activations(model: bytes, images: Images) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield every float32 tensor that `model` computes, batch by batch.

    Images run one by one, on as many interpreters as there are threads: the values do not depend on their number.
    """
    threads = min(MAX_CALIBRATION_THREADS, available_cores())
    interpreters: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(threads):
        interpreters.put(flatbuffer.preserving_interpreter(model))
    names = flatbuffer.float_activations(model)

    def run(image: Images) -> list[NDArray[np.float32]]:
        interpreter = interpreters.get()
        input_index = interpreter.get_input_details()[0]["index"]
        interpreter.set_tensor(input_index, image[None].astype(np.float32) / np.float32(255))
        interpreter.invoke()  # without Python's global lock
        values = [interpreter.get_tensor(index) for index in names]
        interpreters.put(interpreter)
        return values

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(images), CALIBRATION_BATCH):
            rows = zip(*pool.map(run, images[start : start + CALIBRATION_BATCH]), strict=True)
            yield {name: np.concatenate(values) for name, values in zip(names.values(), rows, strict=True)}


def _rounded(model: bytes, keep_float: Collection[str]) -> bytes:
    """Return a float flatbuffer with the kernels of its convolutions rounded, except in the layers `keep_float`."""
    parsed = flatbuffer.parse(model)
    for name, operator in zip(flatbuffer.operator_names(parsed), parsed.subgraphs[0].operators, strict=True):
        if name == "CONV_2D" and flatbuffer.layer_of(flatbuffer.output_name(parsed, operator)) not in keep_float:
            kernel = flatbuffer.constant(parsed, operator.inputs[1])
            flatbuffer.store(parsed, operator.inputs[1], round_preserving_sums(kernel, axis=0))
    return flatbuffer.pack(parsed)


def _set_ranges(model: bytes, tensor_ranges: ranges.Ranges) -> bytes:
    """Return a calibrated flatbuffer with its ranges replaced."""
    parsed = flatbuffer.parse(model)
    for tensor in parsed.subgraphs[0].tensors:
        name = tensor.name.decode()
        if name in tensor_ranges and tensor.quantization is not None and tensor.quantization.min is not None:
            low, high = tensor_ranges[name]
            tensor.quantization.min, tensor.quantization.max = np.array([low], np.float32), np.array([high], np.float32)
    return flatbuffer.pack(parsed)
