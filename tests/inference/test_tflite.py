"""TFLite graphs: integers become real numbers, batches of any size give what single images do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feredge.inference.tflite import TFLiteGraph, dequantize, litert_interpreter

NANO = Path(__file__).parents[2] / "models" / "nano"


@given(
    st.lists(st.integers(-128, 127), min_size=1),
    st.floats(2**-12, 1.0, width=32),
    st.integers(-128, 127),
)
def test_integers_become_real_numbers(values: list[int], scale: float, zero_point: int) -> None:
    """Guards the formula real = scale * (integer - zero point), and that int8 does not wrap around on the way."""
    found = dequantize(np.array(values, np.int8), scale, zero_point)
    exact = [(value - zero_point) * scale for value in values]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=1e-6)  # float32's rounding of one product


def test_what_has_no_scale_stays_as_it_is() -> None:
    """Guards float outputs, and integers that mean themselves, against being multiplied by 0."""
    for values in (np.array([0.25, -1.0], np.float32), np.array([3, 7], np.int8)):
        assert dequantize(values, 0.0, 0) is values


@pytest.mark.parametrize("xnnpack", [True, False])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_batch_gives_what_its_images_give(precision: str, xnnpack: bool) -> None:
    """Guards the resizing between batches of different sizes, there and back, from a file and from its bytes."""
    path = NANO / f"dense.{precision}.tflite"
    images = np.random.default_rng(1).integers(0, 256, (5, 48, 48, 1)).astype(np.uint8)
    graph = TFLiteGraph(litert_interpreter(path, xnnpack=xnnpack))
    whole = graph.run(images)
    single = np.concatenate([graph.run(image[None]) for image in images])
    # Kernels for larger batches may add up in another order; an integer answer may then fall to the next step.
    np.testing.assert_allclose(single, whole, atol=1 / 256 if precision == "int8" else 1e-6)
    again = TFLiteGraph(litert_interpreter(path.read_bytes(), xnnpack=xnnpack))
    np.testing.assert_array_equal(again.run(images), whole)
