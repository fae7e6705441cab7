"""Statistics of an accuracy, and of the difference of two accuracies on the same images (paired)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

NORMAL_QUANTILE = 1.959963984540054
"""Standard normal quantile of 97.5 %, of two-sided 95% intervals."""
BOOTSTRAP_RESAMPLES = 20_000

Labels = NDArray[np.integer]


def wilson_interval(correct: int, images: int) -> tuple[float, float]:
    """Return the 95% interval of a proportion (Wilson 1927), which keeps its coverage near 0 and 1."""
    proportion, z2 = correct / images, NORMAL_QUANTILE**2
    center = (proportion + z2 / (2 * images)) / (1 + z2 / images)
    variance = proportion * (1 - proportion) / images + z2 / (4 * images**2)
    half_width = NORMAL_QUANTILE / (1 + z2 / images) * math.sqrt(variance)
    return max(0.0, center - half_width), min(1.0, center + half_width)


def binomial_tail(successes: int, trials: int, probability: float) -> float:
    """Return the probability of at least `successes` in a binomial distribution, `probability` between 0 and 1."""
    if successes <= 0:
        return 1.0
    if successes <= trials * probability:  # the terms of the other tail are the small ones; the first here may be 0.0
        return 1.0 - binomial_tail(trials - successes + 1, trials, 1 - probability)
    log_term = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
    term = math.exp(log_term + successes * math.log(probability) + (trials - successes) * math.log1p(-probability))
    tail, odds = term, probability / (1 - probability)
    for count in range(successes, trials):
        term *= odds * (trials - count) / (count + 1)
        tail += term
        if term < 1e-17 * tail:  # the rest is smaller still
            break
    return min(1.0, tail)


def clopper_pearson_lower_bound(successes: int, trials: int, confidence_level: float) -> float:
    """Return the one-sided exact lower bound of a proportion (Clopper and Pearson 1934), to 1e-6."""
    low, high = 0.0, successes / trials if trials else 0.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if binomial_tail(successes, trials, middle) < 1 - confidence_level else (low, middle)
    return low


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


def contingency_table(rows: Labels, columns: Labels, classes: int) -> NDArray[np.int64]:
    """Count the pairs of classes: `int64 (classes, classes)`."""
    pairs = rows.astype(np.int64) * classes + columns
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
