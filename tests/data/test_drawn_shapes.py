"""Drawn shapes: the same everywhere, evenly split, and told apart by colour as well as by shape."""

from __future__ import annotations

import numpy as np
import pytest

from feredge.data import load
from feredge.data.drawn_shapes import SHAPE_CLASSES, drawn_shapes
from feredge.errors import DataError


def test_splits_are_even() -> None:
    """Guards the stratified 80/10/10, and the shape and order of the channels that all readers rely on."""
    shapes = load("drawn-shapes:400", size=64, channels=3)
    assert shapes.images.shape == (400, 64, 64, 3) and shapes.classes == SHAPE_CLASSES
    for usage, count in (("Training", 80), ("PublicTest", 10), ("PrivateTest", 10)):
        assert np.bincount(shapes.labels[shapes.usage == usage]).tolist() == [count] * 4


def test_a_picture_depends_on_seed_and_place_only() -> None:
    """Guards against a random stream shared between pictures: a larger set would change the smaller one's."""
    assert np.array_equal(drawn_shapes(80).images, drawn_shapes(100).images[:80])
    assert not np.array_equal(drawn_shapes(80, seed=2).images, drawn_shapes(80).images)


def test_colours_tell_the_classes_apart_and_gray_does_not() -> None:
    """Guards what the data are for: blue shapes are bluer than their background, and no darker than orange ones."""
    shapes, gray = drawn_shapes(800), load("drawn-shapes:800", size=64)
    blueness = shapes.images[..., 2].mean(axis=(1, 2)) - shapes.images[..., 0].mean(axis=(1, 2), dtype=float)
    blue = shapes.labels < 2
    assert blueness[blue].mean() > blueness[~blue].mean() + 10
    assert gray.images.shape == (800, 64, 64, 1)
    # the means of 400 random backgrounds differ by 3.5 on average
    assert abs(gray.images[blue].mean() - gray.images[~blue].mean()) < 10


@pytest.mark.parametrize("source", ["drawn-shapes:39", "drawn-shapes:1000001", "drawn-shapes:", "drawn-shapes:x"])
def test_impossible_requests_are_one_clear_line(source: str) -> None:
    """Guards `--data drawn-shapes:N` with a number that leaves a split empty or fills the memory, or with none."""
    with pytest.raises(DataError, match="expected"):
        load(source)
