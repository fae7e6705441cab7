"""The small parts of the converters, on numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from tiny_training import stripes

from feredge import data
from feredge.errors import DataError
from feredge.export import calibration, rounding
from feredge.export.to_onnx import _symmetric
from feredge.recipe import DataView

# Nothing so near zero that a step of it is no normal float32: no trained weight is.
WEIGHTS = st.floats(-100, 100, width=32).map(lambda weight: weight if abs(weight) > 1e-20 else 0.0)
KERNELS = arrays.arrays(np.float32, (4, 3, 2, 2), elements=WEIGHTS)


@given(KERNELS)
def test_int8_kernels_are_the_nearest(kernel: NDArray[np.float32]) -> None:
    """Guards per-channel rounding: never off by more than half a step of the channel's own scale; zeros stay zero."""
    values, scale = _symmetric(kernel, axis=0)
    assert values.dtype == np.int8 and values.min() >= -127 and scale.shape == (4, 1, 1, 1)
    # a thousandth more than half: the division and the product are rounded to float32
    assert (np.abs(values * scale - kernel) <= scale * 0.501).all()
    assert not values[kernel == 0].any()


@given(arrays.arrays(np.float32, (9, 4), elements=WEIGHTS))
def test_rounding_keeps_sums(kernel: NDArray[np.float32]) -> None:
    """Guards the answer to even brightness, the zeros of pruned networks, and the scale that the converters find."""
    kept = rounding.keep_sums(kernel)
    largest = np.abs(kernel).max(axis=0)
    step = np.where(largest == 0, 1, largest / 127)
    # a thousandth more than the bound: both are rounded to float32
    assert (np.abs((kept - kernel).sum(axis=0)) <= step * 0.51).all()
    assert (np.abs(kept - kernel) <= step * 1.001).all()
    assert not kept[kernel == 0].any()
    np.testing.assert_allclose(np.abs(kept).max(axis=0), largest, rtol=1e-6)
    np.testing.assert_allclose(kept / step, np.rint(kept / step), atol=1e-3)


def test_calibration_spans_all_pixels_and_stays_in_the_training_split() -> None:
    """Guards the exact [0, 1] range, idea 5, and that the caller's images are not written to."""
    splits = data.split(stripes(), DataView(size=16))
    before = splits.train.images.copy()
    chosen = calibration.choose(splits.train, 100, seed=1)
    assert chosen.shape == (100, 16, 16, 1) and chosen.min() == 0 and chosen.max() == 255
    own = {image.tobytes() for image in splits.train.images}
    assert all(image.tobytes() in own for image in chosen[1:])
    assert (splits.train.images == before).all()
    assert (calibration.choose(splits.train, 100, seed=1) == chosen).all()


def test_no_training_images_is_an_error() -> None:
    """Guards a data set that is a test split only."""
    with pytest.raises(DataError, match="to calibrate on"):
        calibration.choose(stripes().take(np.zeros(420, bool)), 100, seed=1)
