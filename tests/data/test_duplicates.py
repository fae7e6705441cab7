"""Duplicate search: the same pairs as a comparison of every pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from feredge.data import duplicates
from feredge.data.duplicates import (
    NEAR_DUPLICATE_CORRELATION,
    first_identical,
    has_duplicate,
    is_constant,
    near_duplicate_pairs,
)
from feredge.inference.contract import Images


def some_images(count: int, shape: tuple[int, int] = (48, 48), seed: int = 0) -> Images:
    """Return smooth random pictures, a third of them near or exact copies of others, and two constant ones."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 6)).astype(np.float64)
    high, wide = (np.linspace(0, 5.99, side).astype(int) for side in shape)
    images = coarse[:, high][:, :, wide]
    for copy in range(0, count - 1, 3):
        # Noise of this strength leaves correlations from 1 down to about 0.99, on both sides of the threshold.
        images[copy] = 0.8 * images[rng.integers(copy, count)] + rng.normal(0, rng.uniform(0, 8), shape) + 20
    images[count // 2] = images[1]
    images[[0, -1]] = 7
    return np.clip(images, 0, 255).astype(np.uint8)[..., None]


def all_pairs(images: Images) -> set[tuple[int, int]]:
    """Return the near duplicates by numpy's own correlation of every pair."""
    rows = np.flatnonzero(~is_constant(images))
    correlations: Any = np.corrcoef(images[rows].reshape(len(rows), -1))
    near = np.triu(correlations > NEAR_DUPLICATE_CORRELATION, 1)
    return {(int(rows[i]), int(rows[j])) for i, j in np.argwhere(near)}


def pair_list(images: Images, rows: np.ndarray, references: np.ndarray | None = None) -> list[tuple[int, int]]:
    """Return what near_duplicate_pairs yields, as a list."""
    portions = near_duplicate_pairs(images, rows, references)
    return [pair for i, j in portions for pair in zip(i.tolist(), j.tolist(), strict=True)]


@pytest.mark.parametrize("block", [4096, 16, 7, 1])
@pytest.mark.parametrize("shape", [(48, 48), (32, 20), (6, 6)])
def test_all_pairs_and_no_others(monkeypatch: pytest.MonkeyPatch, block: int, shape: tuple[int, int]) -> None:
    """Guards the bound and the blocks: a pair that the short descriptors miss is a leak into the test split."""
    monkeypatch.setattr(duplicates, "BLOCK_ROWS", block)
    images = some_images(60, shape)
    expected = all_pairs(images)
    assert len(expected) > 5
    pairs = pair_list(images, np.arange(60))
    assert len(pairs) == len(set(pairs))
    assert {(min(pair), max(pair)) for pair in pairs} == expected
    even, odd = np.arange(0, 60, 2), np.arange(1, 60, 2)
    across = {pair for pair in expected if sum(pair) % 2}
    assert {(min(pair), max(pair)) for pair in pair_list(images, even, odd)} == across


@settings(deadline=None)
@given(
    images=arrays.arrays(
        np.uint8, st.tuples(st.just(2), st.integers(1, 12), st.integers(1, 12), st.sampled_from((1, 3)))
    ),
    step=st.integers(-3, 3),
)
def test_descriptors_bound_the_correlation(images: Images, step: int) -> None:
    """Guards the proof in code: no pair may have a correlation above its descriptors' inner product."""
    images[1] = np.clip(images[0].astype(int) + step * (images[1] > 200), 0, 255)  # often a near pair
    if is_constant(images).any():
        return
    first, second = duplicates._descriptors(images, np.arange(2))
    correlation = duplicates._correlations(images[:1], images[1:])[0, 0]
    assert first @ second > correlation - duplicates.ROUNDING_MARGIN
    assert abs(np.linalg.norm(first) - 1) < duplicates.ROUNDING_MARGIN


def test_threshold_is_exact() -> None:
    """Guards the definition: over 0.995 is near, and brightness and contrast do not matter."""
    rng = np.random.default_rng(3)
    picture = rng.integers(60, 190, (48, 48))
    darker = picture // 2
    noisier = picture + rng.normal(0, 8, picture.shape)
    images = np.array([picture, darker, noisier]).astype(np.uint8)[..., None]
    correlations = np.atleast_2d(np.corrcoef(images.reshape(3, -1)))[0]
    assert correlations[1] > NEAR_DUPLICATE_CORRELATION > correlations[2] > 0.95  # the case is what it says
    assert pair_list(images, np.arange(3)) == [(0, 1)]


def test_constant_images() -> None:
    """Guards against dividing by their zero spread: they are near nothing, and identical to equal ones."""
    images = np.zeros((4, 48, 48, 1), np.uint8)
    images[1] = 9
    images[2, 0, 0] = 1
    assert is_constant(images).tolist() == [True, True, False, True]
    assert first_identical(images).tolist() == [0, 1, 2, 0]
    assert pair_list(images, np.arange(4)) == []
    assert has_duplicate(images, np.array([0, 1, 2]), np.array([3])).tolist() == [True, False, False]


def test_colour_counts_as_shape_does() -> None:
    """Guards colour: a square in red is none in green, a cast over the whole picture is, and so is a darker copy."""
    red = np.random.default_rng(0).integers(60, 90, (48, 48, 3))
    green = red.copy()
    red[10:30, 10:30, 0] += 90
    green[10:30, 10:30, 1] += 90
    tinted = red + np.array([40, 0, 20])
    images = np.array([red, green, tinted, red // 2]).astype(np.uint8)
    assert pair_list(images, np.arange(4)) == [(0, 2), (0, 3), (2, 3)]
    assert is_constant(np.full((1, 8, 8, 3), (200, 30, 40), np.uint8)).all()


def test_nothing_to_compare() -> None:
    """Guards empty splits."""
    images = some_images(10)
    none = np.array([], np.int64)
    assert pair_list(images, none) == [] and pair_list(images, np.arange(10), none) == []
    assert pair_list(images[:0], none) == []
    assert has_duplicate(images, np.arange(10), none).tolist() == [False] * 10
    assert has_duplicate(images, none, np.arange(10)).tolist() == []
