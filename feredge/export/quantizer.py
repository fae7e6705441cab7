"""Static int8 quantization: a network is calibrated once, then quantized with any choice of float32 layers."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from feredge.export.passes import DENSE_VARIANT, FileFormat, Target, run_network_passes, weight_quantization_of
from feredge.inference.contract import Images
from feredge.inference.runtimes import Probabilities, onnx_session
from feredge.inference.tflite import TFLiteGraph, litert_interpreter
from feredge.recipes.schema import Export
from feredge.recipes.variant import Variant

if TYPE_CHECKING:
    from feredge.keras import KerasModel

PREDICTION_BATCH = 64


class CalibratedModel(Protocol):
    """A network with the range of each of its tensors: Int8Onnx or Int8TFLite."""

    layers: tuple[str, ...]

    def layer_outputs(self, model: bytes, images: Images) -> dict[str, Any]:
        """Return the dequantized output of each layer of a model that `quantize` returned."""
        ...

    def quantize(self, keep_float: Collection[str] = ()) -> bytes:
        """Return the int8 model with the layers `keep_float` in float32."""
        ...


def calibrate(
    core: KerasModel, images: Images, kind: FileFormat, *, settings: Export, variant: Variant = DENSE_VARIANT
) -> CalibratedModel:
    """Run the passes for int8 on a core, and calibrate it on a representative dataset.

    Args:
        core: the network of `variant`.
        images: calibration images, `uint8 (N, H, W, C)`.
        kind: `onnx` or `tflite`.
        settings: the recipe's `[export]`.
        variant: of the network.
    """
    target = Target(variant, "int8", kind)
    core = run_network_passes(core, target, images)
    weight_quantization = weight_quantization_of(target)
    if kind == "tflite":
        from feredge.export.tflite.int8 import Int8TFLite

        return Int8TFLite(core, images, method=settings.calibration_method, weight_quantization=weight_quantization)
    from feredge.export.onnx.converter import core_graph
    from feredge.export.onnx.int8 import Int8Onnx

    graph = core_graph(core, opset=settings.opset)
    return Int8Onnx(
        graph,
        images,
        method=settings.calibration_method,
        reduce_range=settings.reduce_range,
        weight_quantization=weight_quantization,
    )


def predict(model: bytes, images: Images) -> Probabilities:
    """Return the probabilities of a model without a card, TFLite or ONNX."""
    batches = [images[start : start + PREDICTION_BATCH] for start in range(0, len(images), PREDICTION_BATCH)]
    if model[4:8] == b"TFL3":
        graph = TFLiteGraph(litert_interpreter(model))
        return np.concatenate([graph.run(batch) for batch in batches])
    session = onnx_session(model, threads=1)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: batch})[0] for batch in batches])
