"""Shifted and mirrored views of images, over which accuracy is averaged to lower its noise."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from feredge.inference.contract import Images

View = tuple[int, int, int]
"""Pixels of a shift to the right and down, and the step through columns, of which -1 mirrors."""
ALL_VIEWS: tuple[View, ...] = tuple(itertools.product((-1, 0, 1), (-1, 0, 1), (1, -1)))
"""Shifts by at most one pixel, and the mirror images of these."""
CROSS_VIEWS: tuple[View, ...] = ((0, 0, 1), (-1, 0, 1), (1, 0, -1), (0, -1, -1), (0, 1, 1))
"""A few of them, of which two are mirrored: most of the gain at a fraction of the time."""


def shifted(images: Images, right: int, down: int) -> Images:
    """Return images `(N, H, W, ...)` of a window moved `right` and `down` by whole pixels; edges are repeated."""
    pad = max(abs(right), abs(down))
    padding = [(0, 0), (pad, pad), (pad, pad), *[(0, 0)] * (images.ndim - 3)]
    top, start, (height, width) = pad + down, pad + right, images.shape[1:3]
    return np.pad(images, padding, mode="edge")[:, top : top + height, start : start + width]


def hits_over_views(
    predict: Callable[[Images], NDArray[np.float32]],
    images: Images,
    labels: NDArray[np.int8],
    views: Sequence[View] = ALL_VIEWS,
) -> NDArray[np.int64]:
    """Return the number of `views` of each image that a network classifies correctly, `int64 (N,)`.

    Args:
        predict: from `uint8 (N, H, W)` to `float32 (N, classes)`.
        images: `uint8 (N, H, W)`.
        labels: `int8 (N,)`.
    """
    hits = np.zeros(len(images), np.int64)
    for right, down, side in views:
        hits += predict(shifted(images, right, down)[:, :, ::side]).argmax(axis=1) == labels
    return hits
