"""A network on its way to static int8: calibrated once, then quantized as often as layers are tried."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, Protocol

import numpy as np

from feredge.compress.rounding import WeightQuantization
from feredge.inference.contract import Images
from feredge.inference.runtimes import Probabilities, onnx_session
from feredge.inference.tflite import TFLiteGraph, litert_interpreter
from feredge.recipes.schema import Export

BATCH = 64


class Integer(Protocol):
    """A calibrated network: Int8Onnx or Int8TFLite."""

    layers: tuple[str, ...]

    def outputs(self, model: bytes, images: Images) -> dict[str, Any]:
        """Return what each layer of a model that `quantize` gave has as its output, as real numbers."""
        ...

    def quantize(self, keep_float: Collection[str] = ()) -> bytes:
        """Return the int8 model with some layers in float32."""
        ...


def calibrated(
    core: Any,
    images: Images,
    kind: Literal["onnx", "tflite"],
    *,
    settings: Export,
    weight_quantization: WeightQuantization,
) -> Integer:
    """Return a float network with the ranges that its tensors have over `images`, `uint8 (N, H, W, C)`."""
    from feredge.compress.batch_norms import freeze_dead_channels

    core = freeze_dead_channels(core, images)
    if kind == "tflite":
        from feredge.export.tflite.int8 import Int8TFLite

        return Int8TFLite(core, images, method=settings.method, weight_quantization=weight_quantization)
    from feredge.export.onnx.converter import core_graph
    from feredge.export.onnx.int8 import Int8Onnx

    graph = core_graph(core, opset=settings.opset)
    return Int8Onnx(
        graph,
        images,
        method=settings.method,
        full_range=settings.full_range,
        weight_quantization=weight_quantization,
    )


def answers(model: bytes, images: Images) -> Probabilities:
    """Return the probabilities that a model without a card gives, in either format."""
    if model[4:8] == b"TFL3":
        graph = TFLiteGraph(litert_interpreter(model))
        return np.concatenate([graph.run(images[at : at + BATCH]) for at in range(0, len(images), BATCH)])
    session = onnx_session(model, threads=1)
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: images[at : at + BATCH]})[0] for at in range(0, len(images), BATCH)]
    return np.concatenate(parts)
