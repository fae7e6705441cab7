"""Find pictures that are the same, exactly or nearly, without comparing every pair pixel by pixel.

Two pictures are near duplicates when their pixels' correlation is over NEAR. With x and y brought to mean 0 and
length 1, the correlation is their inner product. Cut each into its lowest spatial frequencies, by an orthonormal
cosine transform, and the rest: by Cauchy and Schwarz the rests' inner product is at most the product of their
lengths. So a short descriptor, the low frequencies and the rest's length, bounds the correlation from above. What
the bound leaves over, a few pairs in a million, is computed in full, in integers that float64 holds exactly: which
pairs are near does not depend on the machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from feredge.inference.contract import Images

NEAR = 0.995
"""Correlation of the pixels of two images above which they count as the same picture."""
FREQUENCIES = 8  # along each side: 65 values an image
BLOCK = 2048  # most images a side of one matrix product: 16 MB of float32
BLOCK_PIXELS = 1 << 23  # and most pixels that are held as floats at once
ROUNDING = 1e-4  # far over float32's error in an inner product of unit vectors

Index = NDArray[np.int64]


def constant(images: Images) -> NDArray[np.bool_]:
    """Return which of `uint8 (N, H, W)` are of one value throughout; they correlate with nothing."""
    flat = images.reshape(len(images), -1)
    return flat.min(axis=1) == flat.max(axis=1)  # type: ignore[no-any-return]


def first_twins(images: Images) -> Index:
    """Return, for each of `uint8 (N, H, W)`, the index of the first image with exactly the same pixels."""
    seen: dict[bytes, int] = {}
    digests = (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images)
    return np.fromiter((seen.setdefault(digest, row) for row, digest in enumerate(digests)), np.int64, len(images))


def near_pairs(images: Images, left: Index, right: Index | None = None) -> Iterator[tuple[Index, Index]]:
    """Yield the pairs of `uint8 (N, H, W)` whose correlation is over NEAR, identical ones too, in bounded portions.

    Args:
        images: the pictures that `left` and `right` point into.
        left: rows to look at; those of constant images are passed over.
        right: rows to compare them with; without it, each unordered pair within `left` comes once.
    """
    if not len(images):
        return
    flat = constant(images)
    left = left[~flat[left]]
    right = None if right is None else right[~flat[right]]
    ours = _descriptors(images, left)
    theirs = ours if right is None else _descriptors(images, right)
    others = left if right is None else right
    step = _step(images)
    for i in range(0, len(left), step):
        for j in range(i if right is None else 0, len(others), step):
            bound = ours[i : i + step] @ theirs[j : j + step].T
            above = np.flatnonzero(bound > NEAR - ROUNDING)
            row, column = np.divmod(above, bound.shape[1])
            if right is None and i == j:
                row, column = row[row < column], column[row < column]
            if row.size:
                yield from _confirm(images, left[i + row], others[j + column])


def stand_in(images: Images, rows: Index, others: Index) -> NDArray[np.bool_]:
    """Return which of `rows` show a picture that also stands, exactly or nearly, in `others`."""
    found = np.zeros(len(images), np.bool_)
    twins = first_twins(images)
    found[rows] = np.isin(twins[rows], twins[others])
    for row, _ in near_pairs(images, rows[~found[rows]], others):
        found[row] = True
    return found[rows]


def _step(images: Images) -> int:
    return int(min(BLOCK, max(1, BLOCK_PIXELS // images[0].size)))


def _descriptors(images: Images, rows: Index) -> NDArray[np.float32]:
    """Return unit vectors `(rows, FREQUENCIES ** 2 + 1)` whose inner products bound the correlation from above."""
    high, wide = _cosines(images.shape[1]), _cosines(images.shape[2])
    result = np.empty((len(rows), len(high) * len(wide) + 1), np.float32)
    step = _step(images)
    for start in range(0, len(rows), step):
        pixels = images[rows[start : start + step]].astype(np.float32)
        pixels -= pixels.mean(axis=(1, 2), keepdims=True)
        pixels /= np.sqrt(np.square(pixels).sum(axis=(1, 2), keepdims=True))
        low = (high @ (pixels @ wide.T)).reshape(len(pixels), -1)
        rest = np.sqrt(np.maximum(0.0, 1.0 - np.square(low).sum(axis=1)))
        result[start : start + step] = np.column_stack((low, rest))
    return result


def _cosines(length: int) -> NDArray[np.float32]:
    """Return the lowest frequencies of the orthonormal cosine transform (DCT-II), one a row."""
    frequency = np.arange(min(FREQUENCIES, length))[:, None]
    waves: NDArray[np.float64] = np.cos(np.pi * frequency * (2 * np.arange(length) + 1) / (2 * length)) * np.sqrt(
        2 / length
    )
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)


def _confirm(images: Images, left: Index, right: Index) -> Iterator[tuple[Index, Index]]:
    """Yield those of the pairs whose correlation, computed in full, is over NEAR."""
    ours, row = np.unique(left, return_inverse=True)
    theirs, column = np.unique(right, return_inverse=True)
    near = (_correlations(images[ours], images[theirs]) > NEAR)[row, column]
    if near.any():
        yield left[near], right[near]


def _correlations(left: Images, right: Images) -> NDArray[np.float64]:
    ours, theirs = (each.reshape(len(each), -1).astype(np.float64) for each in (left, right))
    pixels = ours.shape[1]
    shared = pixels * (ours @ theirs.T) - np.outer(ours.sum(axis=1), theirs.sum(axis=1))
    spread = [pixels * np.square(each).sum(axis=1) - each.sum(axis=1) ** 2 for each in (ours, theirs)]
    return shared / np.sqrt(np.outer(*spread))  # type: ignore[no-any-return]
