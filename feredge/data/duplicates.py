"""Exact and near duplicate search, without comparing every pair of images pixel by pixel.

Two images are near duplicates when their pixels' correlation is over NEAR_DUPLICATE_CORRELATION. With x and y scaled
to mean 0 (in each channel) and length 1, the correlation is their inner product. An orthonormal cosine transform splits
each into its lowest spatial frequencies and a remainder; by Cauchy and Schwarz, the inner product of the remainders is
at most the product of their lengths. So a short descriptor, the low frequencies and the remainder's length, bounds the
correlation from above. The pairs over the bound, a few in a million, are computed in full, in integers that float64
represents exactly: the result does not depend on the machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import RowIndex, RowMask
from feredge.inference.contract import Images

NEAR_DUPLICATE_CORRELATION = 0.995
"""Correlation of the pixels of two images above which they count as the same picture."""
DCT_FREQUENCIES = 8  # along each side: 65 values an image
BLOCK_ROWS = 2048  # most images a side of one matrix product: 16 MB of float32
BLOCK_PIXELS = 1 << 23  # and most pixels converted to float at once
ROUNDING_MARGIN = 1e-4  # far over float32's error in an inner product of unit vectors


def is_constant(images: Images) -> RowMask:
    """Return which of `uint8 (N, H, W, C)` have one colour throughout; their correlation is undefined."""
    return np.fromiter(((image == image[:1, :1]).all() for image in images), np.bool_, len(images))


def first_identical(images: Images) -> RowIndex:
    """Return, for each of `uint8 (N, H, W, C)`, the index of the first image with exactly the same pixels."""
    first_rows: dict[bytes, int] = {}
    digests = (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images)
    return np.fromiter(
        (first_rows.setdefault(digest, row) for row, digest in enumerate(digests)), np.int64, len(images)
    )


def near_duplicate_pairs(
    images: Images, rows: RowIndex, references: RowIndex | None = None
) -> Iterator[tuple[RowIndex, RowIndex]]:
    """Yield the near duplicate pairs of `uint8 (N, H, W, C)`, identical ones too, as arrays of bounded size.

    Args:
        images: what `rows` and `references` index.
        rows: images to compare; constant ones are ignored.
        references: images to compare them with; if None, each unordered pair within `rows` is yielded once.
    """
    if not len(images):
        return
    within = references is None
    constant = is_constant(images)
    rows = rows[~constant[rows]]
    references = rows if references is None else references[~constant[references]]
    row_descriptors = _descriptors(images, rows)
    reference_descriptors = row_descriptors if within else _descriptors(images, references)
    step = _block_rows(images)
    for i in range(0, len(rows), step):
        for j in range(i if within else 0, len(references), step):
            bound = row_descriptors[i : i + step] @ reference_descriptors[j : j + step].T
            above = np.flatnonzero(bound > NEAR_DUPLICATE_CORRELATION - ROUNDING_MARGIN)
            row, column = np.divmod(above, bound.shape[1])
            if within and i == j:
                row, column = row[row < column], column[row < column]
            if row.size:
                yield from _confirm(images, rows[i + row], references[j + column])


def has_duplicate(images: Images, rows: RowIndex, references: RowIndex) -> RowMask:
    """Return which of `rows` have an exact or near duplicate among `references`."""
    duplicated = np.zeros(len(images), np.bool_)
    identical = first_identical(images)
    duplicated[rows] = np.isin(identical[rows], identical[references])
    for row, _ in near_duplicate_pairs(images, rows[~duplicated[rows]], references):
        duplicated[row] = True
    return duplicated[rows]


def _block_rows(images: Images) -> int:
    return int(min(BLOCK_ROWS, max(1, BLOCK_PIXELS // images[0].size)))


def _descriptors(images: Images, rows: RowIndex) -> NDArray[np.float32]:
    """Return unit vectors `(rows, C * DCT_FREQUENCIES ** 2 + 1)`, whose inner products bound the correlation."""
    vertical, horizontal = _dct_basis(images.shape[1]), _dct_basis(images.shape[2])
    result = np.empty((len(rows), images.shape[3] * len(vertical) * len(horizontal) + 1), np.float32)
    step = _block_rows(images)
    for start in range(0, len(rows), step):
        pixels = np.moveaxis(images[rows[start : start + step]], 3, 1).astype(np.float32)
        pixels -= pixels.mean(axis=(2, 3), keepdims=True)
        pixels /= np.sqrt(np.square(pixels).sum(axis=(1, 2, 3), keepdims=True))
        low = (vertical @ (pixels @ horizontal.T)).reshape(len(pixels), -1)
        remainder = np.sqrt(np.maximum(0.0, 1.0 - np.square(low).sum(axis=1)))
        result[start : start + step] = np.column_stack((low, remainder))
    return result


def _dct_basis(length: int) -> NDArray[np.float32]:
    """Return the lowest frequencies of the orthonormal cosine transform (DCT-II), one a row."""
    frequency = np.arange(min(DCT_FREQUENCIES, length))[:, None]
    waves: NDArray[np.float64] = np.cos(np.pi * frequency * (2 * np.arange(length) + 1) / (2 * length)) * np.sqrt(
        2 / length
    )
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)


def _confirm(images: Images, rows: RowIndex, references: RowIndex) -> Iterator[tuple[RowIndex, RowIndex]]:
    """Yield those of the pairs whose correlation, computed in full, is over NEAR_DUPLICATE_CORRELATION."""
    unique_rows, row = np.unique(rows, return_inverse=True)
    unique_references, column = np.unique(references, return_inverse=True)
    correlations = _correlations(images[unique_rows], images[unique_references])
    near = (correlations > NEAR_DUPLICATE_CORRELATION)[row, column]
    if near.any():
        yield rows[near], references[near]


def _correlations(images: Images, references: Images) -> NDArray[np.float64]:
    """Return `(N, M)` correlations, exact before the last division: sums over the channels, each with its own mean."""
    pixels = images.shape[1] * images.shape[2]
    covariance, variances = np.zeros((len(images), len(references))), [np.zeros(len(images)), np.zeros(len(references))]
    for channel in range(images.shape[3]):
        x, y = (part[..., channel].reshape(len(part), -1).astype(np.float64) for part in (images, references))
        covariance += pixels * (x @ y.T) - np.outer(x.sum(axis=1), y.sum(axis=1))
        for variance, part in zip(variances, (x, y), strict=True):
            variance += pixels * np.square(part).sum(axis=1) - part.sum(axis=1) ** 2
    return covariance / np.sqrt(np.outer(*variances))
