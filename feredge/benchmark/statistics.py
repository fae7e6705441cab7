"""Statistics of an accuracy, and of the difference of two accuracies on the same images (paired)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

NORMAL_QUANTILE = 1.959963984540054
"""Standard normal quantile of 97.5 %, of two-sided 95% intervals."""
CALIBRATION_BINS = 15
BOOTSTRAP_RESAMPLES = 20_000

Labels = NDArray[np.integer]


def wilson_interval(correct: int, images: int) -> tuple[float, float]:
    """Return the 95% interval of a proportion (Wilson 1927), which keeps its coverage near 0 and 1."""
    proportion, z2 = correct / images, NORMAL_QUANTILE**2
    center = (proportion + z2 / (2 * images)) / (1 + z2 / images)
    variance = proportion * (1 - proportion) / images + z2 / (4 * images**2)
    half_width = NORMAL_QUANTILE / (1 + z2 / images) * math.sqrt(variance)
    return max(0.0, center - half_width), min(1.0, center + half_width)


def mcnemar_p_value(lost: int, won: int) -> float:
    """Return the two-sided p value of McNemar's exact test on the numbers of discordant pairs."""
    total, fewer = lost + won, min(lost, won)
    term = tail = 1  # binomial(total, k), summed over k = 0..fewer, in exact integers
    for k in range(fewer):
        term = term * (total - k) // (k + 1)
        tail += term
    return min(1.0, float(2 * tail / 2**total))


def bootstrap_interval(lost: int, won: int, images: int, *, seed: int) -> tuple[float, float]:
    """Return the 95% interval of the accuracy drop, as a fraction, by paired bootstrap over images (Efron 1979).

    An image counts +1 (only the float model is correct), -1 (only the other is) or 0, so resampling images with
    replacement is drawing these three counts from a multinomial: the same distribution, in one vectorised call.
    """
    probabilities = np.array([lost, won, images - lost - won]) / images
    counts = np.random.default_rng(seed).multinomial(images, probabilities, size=BOOTSTRAP_RESAMPLES)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / images, (0.025, 0.975))
    return float(low), float(high)


def bonett_price_interval(lost: int, won: int, images: int) -> tuple[float, float]:
    """Return the 95% interval of the accuracy drop, as a fraction, by Bonett and Price (2012).

    Unlike the bootstrap's, it does not shrink to a point where no image differs.
    """
    first, second = (lost + 1) / (images + 2), (won + 1) / (images + 2)
    half_width = NORMAL_QUANTILE * math.sqrt((first + second - (first - second) ** 2) / (images + 2))
    return max(-1.0, first - second - half_width), min(1.0, first - second + half_width)


def calibration_error(probabilities: NDArray[np.float32], labels: Labels) -> float:
    """Return the expected calibration error, over CALIBRATION_BINS equal bins of confidence (Guo et al. 2017)."""
    confidence = probabilities.max(1).astype(np.float64)
    correct = probabilities.argmax(1) == labels
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def contingency_table(rows: Labels, columns: Labels, classes: int) -> NDArray[np.int64]:
    """Count the pairs of classes: `int64 (classes, classes)`."""
    pairs = rows.astype(np.int64) * classes + columns
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
