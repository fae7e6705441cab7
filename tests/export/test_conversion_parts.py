"""The small parts of the converters, on numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from tiny_training import stripes

from feredge import data
from feredge.compress import ranges, rounding
from feredge.data.dataset import Splits
from feredge.errors import DataError, RecipeError, RunError, VerificationError
from feredge.export import calibration
from feredge.export.onnx.converter import _symmetric
from feredge.recipes.schema import DataView

SIMPLE = ("min-max", "moving-average")
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
    rounded = rounding.round_preserving_sums(kernel)
    largest = np.abs(kernel).max(axis=0)
    step = np.where(largest == 0, 1, largest / 127)
    # a thousandth more than the bound: both are rounded to float32
    assert (np.abs((rounded - kernel).sum(axis=0)) <= step * 0.51).all()
    assert (np.abs(rounded - kernel) <= step * 1.001).all()
    assert not rounded[kernel == 0].any()
    np.testing.assert_allclose(np.abs(rounded).max(axis=0), largest, rtol=1e-6)
    np.testing.assert_allclose(rounded / step, np.rint(rounded / step), atol=1e-3)


def test_calibration_spans_all_pixels_and_stays_in_the_training_split() -> None:
    """Guards the exact [0, 1] range, idea 5, two sets that share nothing, and that the caller's images stay."""
    splits = data.split(stripes(), DataView(size=16))
    before = splits.train.images.copy()
    first, second = calibration.calibration_sets(splits, 100, seed=1)
    assert first.shape == second.shape == (100, 16, 16, 1) and first.min() == 0 and first.max() == 255
    training_images = {image.tobytes() for image in splits.train.images}
    assert all(image.tobytes() in training_images for image in (*first[1:], *second[1:]))
    assert not {image.tobytes() for image in first} & {image.tobytes() for image in second}
    assert (splits.train.images == before).all()
    assert (calibration.calibration_sets(splits, 100, seed=1)[0] == first).all()


def test_images_come_mixed_from_folders() -> None:
    """Guards checks that look at the first images only, of data that come class by class."""
    whole = stripes()
    ordered = whole.take(np.argsort(whole.labels, kind="stable"))
    assert len(set(ordered.labels[:40])) == 1
    label = {image.tobytes(): int(name) for image, name in zip(ordered.images, ordered.labels, strict=True)}
    order = [label[image.tobytes()] for image in calibration.shuffled_images(ordered, seed=1)]
    assert len(order) == len(whole) and len(set(order[:40])) == 7
    first, second = calibration.calibration_sets(data.split(ordered, DataView(size=16)), 100, seed=1)
    for images in (first, second):  # except the first image, two pixels of which are set
        assert len({label[image.tobytes()] for image in images[1:40]}) == 7


def test_calibration_images_of_the_test_split_are_refused_or_left_out() -> None:
    """Guards idea 5 where the user brings the images, and where the training split holds copies of test images."""
    splits = data.split(stripes(), DataView(size=16))
    with pytest.raises(DataError, match=r"not in the test split, found 84 that are, the first in row"):
        calibration.calibration_sets(splits, 100, seed=1, calibrate_on=splits.test)
    near = dataclasses.replace(splits.test, images=np.clip(splits.test.images, 3, 252) + np.uint8(1))
    assert not (near.images == splits.test.images).all(axis=(1, 2, 3)).any()
    with pytest.raises(DataError, match=r"not in the test split, found 84 that are, the first in row"):
        calibration.calibration_sets(splits, 100, seed=1, calibrate_on=near)
    for copies in (splits.test, near):
        shared = dataclasses.replace(splits, train=copies.take(np.arange(84) < 80))
        with pytest.raises(DataError, match="to calibrate on, found none"):
            calibration.calibration_sets(shared, 100, seed=1)
    assert len(calibration.calibration_sets(splits, 50, seed=1, calibrate_on=splits.validation)[0]) == 50


def test_layers_are_not_chosen_on_the_test() -> None:
    """Guards idea 5 where the test images are the validation's too, and against a choice by no image at all."""
    view = DataView(size=16)
    assert len(calibration.layer_choice_split(data.split(stripes(), view), view)) == 84
    flattering = DataView(size=16, validation_is_test=True)
    with pytest.raises(RecipeError, match=r"found data\.validation_is_test"):
        calibration.layer_choice_split(data.split(stripes(), flattering), flattering)
    none, whole = DataView(size=16, holdout=0.0), stripes()
    dataset = whole.take(whole.usage != "PrivateTest")
    with pytest.raises(RunError, match="expected validation images to choose layers on, found none"):
        calibration.layer_choice_split(data.split(dataset, none), none)


def test_no_training_images_is_an_error() -> None:
    """Guards a data set that is a test split only."""
    nothing = stripes().take(np.zeros(420, bool))
    with pytest.raises(DataError, match="to calibrate on"):
        calibration.calibration_sets(Splits(nothing, nothing, stripes(), 0), 100, seed=1)


def _seen() -> list[dict[str, NDArray[np.float32]]]:
    """Give what a tensor held over 40 batches: a bell, of which one value is far out."""
    rng = np.random.default_rng(0)
    batches = [{"x": rng.normal(0, 1, (8, 500)).astype(np.float32)} for _ in range(40)]
    batches[3]["x"][0, 0] = 40.0
    return batches


def test_calibration_methods_treat_an_outlier_each_in_its_way() -> None:
    """Guards that the methods differ, and as they should: one value of 160,000 is 40, all others within 5."""
    high = {method: ranges.calibrate_ranges(_seen, method)["x"][1] for method in (*SIMPLE, "percentile", "entropy")}
    assert high["min-max"] == 40.0
    assert high["moving-average"] < 10  # 0.9^36 of the outlier's step is left
    assert 3 < high["percentile"] < 5 and 3 < high["entropy"] < 10


@pytest.mark.parametrize("method", ["min-max", "moving-average", "percentile", "entropy"])
def test_ranges_hold_zero(method: str) -> None:
    """Guards padding, which is exactly zero: a range without it would shift every border pixel."""
    batches = [{"x": np.linspace(2, 3, 512, dtype=np.float32), "flat": np.zeros(9, np.float32)}]
    tensor_ranges = ranges.calibrate_ranges(lambda: batches, method)
    assert tensor_ranges["x"][0] == 0 and 2.5 < tensor_ranges["x"][1] <= 3.001 and tensor_ranges["flat"] == (0, 0)


@given(st.floats(0, 1e30), st.floats(0, 1e30))
def test_ranges_end_on_coarse_numbers(below: float, above: float) -> None:
    """Guards files from the last bits of what they were calibrated on, and its extremes from being cut off."""
    bounds = ranges.calibrate_ranges(lambda: [{"x": np.array([-below, above])}], "min-max")["x"]
    for end, extreme in zip(bounds, (-below, above), strict=True):
        assert abs(extreme) <= abs(end) <= abs(extreme) * (1 + 1 / 128) and end * extreme >= 0
        assert np.frexp(end)[0] * 256 % 1 == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    """Guards a network that overflows: no range covers that."""
    with pytest.raises(VerificationError, match=f"x: expected finite values to calibrate on, found .*{value}"):
        ranges.calibrate_ranges(lambda: [{"x": np.array([0.5, value], np.float32)}], "min-max")
