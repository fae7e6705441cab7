"""Statistics of accuracies: one file's, and two files' on the same images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
"""Standard normal quantile of 97.5 %."""
BINS = 15
RESAMPLES = 20_000

Labels = NDArray[np.integer]


def wilson(correct: int, images: int) -> tuple[float, float]:
    """Return the 95% interval of a share (Wilson 1927), which stays inside [0, 1] and honest at its ends."""
    share, z2 = correct / images, Z95**2
    middle = (share + z2 / (2 * images)) / (1 + z2 / images)
    half = Z95 / (1 + z2 / images) * math.sqrt(share * (1 - share) / images + z2 / (4 * images**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def mcnemar(lost: int, won: int) -> float:
    """Return McNemar's exact two-sided p: the chance of a split as uneven as this one when neither file is better."""
    total, fewer = lost + won, min(lost, won)
    term = tail = 1  # binomial(total, k), summed over k = 0..fewer, in exact integers
    for k in range(fewer):
        term = term * (total - k) // (k + 1)
        tail += term
    return min(1.0, float(2 * tail / 2**total))


def bootstrap(lost: int, won: int, images: int, *, seed: int) -> tuple[float, float]:
    """Return the 95% interval of the drop, as a share, by paired bootstrap over images (Efron 1979).

    An image counts +1 (only the float model is right), -1 (only the other is) or 0, so drawing images with
    replacement is drawing these three counts from a multinomial: the same distribution, in one vectorised call.
    """
    shares = np.array([lost, won, images - lost - won]) / images
    drawn = np.random.default_rng(seed).multinomial(images, shares, size=RESAMPLES)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / images, (0.025, 0.975))
    return float(low), float(high)


def adjusted(lost: int, won: int, images: int) -> tuple[float, float]:
    """Return the 95% interval of the drop, as a share, by Bonett and Price (2012).

    The bootstrap's interval is a point when no image differs, however few images there are; this one is not.
    """
    first, second = (lost + 1) / (images + 2), (won + 1) / (images + 2)
    half = Z95 * math.sqrt((first + second - (first - second) ** 2) / (images + 2))
    return max(-1.0, first - second - half), min(1.0, first - second + half)


def calibration_error(probabilities: NDArray[np.float32], labels: Labels) -> float:
    """Return the expected calibration error: the gap between confidence and accuracy, over BINS equal bins."""
    confidence = probabilities.max(1).astype(np.float64)
    right = probabilities.argmax(1) == labels
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


def table(rows: Labels, columns: Labels, classes: int) -> NDArray[np.int64]:
    """Count pairs: `int64 (classes, classes)`."""
    pairs = rows.astype(np.int64) * classes + columns
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
