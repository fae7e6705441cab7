"""A batch of one in .tflite files, which resizes to any: the runtimes that refuse a free one take them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from feredge.errors import VerificationError
from feredge.export.tflite.fixed_batch import check_fixed_batch, with_fixed_batch
from feredge.inference.tflite import TFLiteGraph, litert_interpreter
from feredge.inspection import flatbuffer
from feredge.keras import keras

IMAGES = np.random.default_rng(1).integers(0, 256, (4, 12, 12, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def reshaping() -> bytes:
    """Give a network whose reshapes take their batch from a shape that is computed, as it is converted."""
    from feredge.export.tflite.converter import to_tflite

    layers = keras.layers
    keras.utils.set_random_seed(1)
    pixels = keras.Input((12, 12, 1))
    features = layers.Reshape((5, 4, 20))(layers.Conv2D(4, 3)(pixels))
    features = layers.Flatten()(layers.Conv2D(3, 3)(features))
    outputs = layers.Dense(7, activation="softmax")(features)
    return to_tflite(keras.Model(pixels, outputs, name="core"), "float32", calibration=IMAGES)


def test_a_file_states_one_and_takes_any(reshaping: bytes) -> None:
    """Guards LiteRT.js, which refuses -1, and reshapes that hold the batch: rows are those of single pictures."""
    with pytest.raises(VerificationError, match="x: expected fixed shapes"):
        check_fixed_batch(reshaping, "x")
    model = with_fixed_batch(reshaping)
    check_fixed_batch(model, "x")
    interpreter = litert_interpreter(model)
    interpreter.allocate_tensors()
    image, output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert list(image["shape"]) == list(image["shape_signature"]) == [1, 12, 12, 1]
    alone = []
    for picture in IMAGES:
        interpreter.set_tensor(image["index"], picture[None])
        interpreter.invoke()
        alone.append(interpreter.get_tensor(output["index"])[0])
    interpreter.resize_tensor_input(image["index"], IMAGES.shape, strict=False)
    interpreter.allocate_tensors()
    interpreter.set_tensor(image["index"], IMAGES)
    interpreter.invoke()
    np.testing.assert_allclose(interpreter.get_tensor(output["index"]), alone, atol=1e-6)  # sums in another order
    np.testing.assert_allclose(alone, TFLiteGraph(litert_interpreter(reshaping)).run(IMAGES), atol=1e-6)


def test_shapes_are_constants(reshaping: bytes) -> None:
    """Guards speed and old runtimes: no operators that compute a reshape's shape, and a constant 1 becomes free."""
    model = flatbuffer.parse(with_fixed_batch(reshaping))
    assert {"SHAPE", "STRIDED_SLICE", "PACK"}.isdisjoint(flatbuffer.operator_names(model))
    for operator in _reshapes(model):
        shape = flatbuffer.constant(model, operator.inputs[1])
        assert shape[0] == -1
        flatbuffer.store(model, operator.inputs[1], np.array([1, *shape[1:]], np.int32))
    converted = flatbuffer.parse(with_fixed_batch(flatbuffer.pack(model)))
    assert [flatbuffer.constant(converted, operator.inputs[1])[0] for operator in _reshapes(converted)] == [-1, -1]


def _reshapes(model: Any) -> list[Any]:
    pairs = zip(flatbuffer.operator_names(model), model.subgraphs[0].operators, strict=True)
    return [operator for kind, operator in pairs if kind == "RESHAPE"]
