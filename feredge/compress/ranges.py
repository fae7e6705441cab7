"""Calibration ranges: from a tensor's values on calibration images to the interval that int8 covers.

* `min-max`: all values.
* `moving-average`: exponential moving average of each batch's minimum and maximum, as in quantization-aware training
  (Jacob et al., 2018).
* `percentile`: without the outermost 0.01% on either side (Wu et al., "Integer quantization for deep learning
  inference", 2020).
* `entropy`: the interval whose int8 histogram has the least KL divergence from the values' (Migacz, "8-bit inference
  with TensorRT", 2017).

The last bits of the values depend on the CPU. Limits are rounded outwards to fewer bits, so that files do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from feredge.errors import VerificationError

Activations = Iterable[dict[str, NDArray[np.float32]]]
Ranges = dict[str, tuple[float, float]]

EMA_DECAY = 0.9  # of the moving average, per batch
PERCENTILE_TAIL = 1e-4  # share of the values that a percentile range omits on either side
HISTOGRAM_BINS = 2048
MAGNITUDE_LEVELS = 128  # of int8
THRESHOLD_STRIDE = 16  # bins between the thresholds that `entropy` tries
MANTISSA_BITS = 8  # of a limit: rounding moves it by less than one of int8's 128 steps


def calibrate_ranges(activations: Callable[[], Activations], method: str) -> Ranges:
    """Return the range of each tensor, which always includes 0.

    Args:
        activations: yields batches of each tensor's values by name; called once, or twice for `percentile` and
            `entropy`.
        method: as above.

    Raises:
        VerificationError: values that are not finite.
    """
    extremes: Ranges = {}
    averaged: Ranges = {}
    for batch in activations():
        for name, values in batch.items():
            low, high = float(values.min()), float(values.max())
            if not math.isfinite(high - low):
                raise VerificationError(f"{name}: expected finite values to calibrate on, found {low} to {high}")
            minimum, maximum = extremes.get(name, (low, high))
            extremes[name] = min(minimum, low), max(maximum, high)
            previous = averaged.get(name, (low, high))
            averaged[name] = (
                EMA_DECAY * previous[0] + (1 - EMA_DECAY) * low,
                EMA_DECAY * previous[1] + (1 - EMA_DECAY) * high,
            )
    if method in ("min-max", "moving-average"):
        limits = extremes if method == "min-max" else averaged
    else:
        compute = _percentile if method == "percentile" else _entropy
        counts = _histograms(activations, extremes)
        limits = {name: compute(counts[name], *extremes[name]) for name in extremes}
    return {
        name: (_round_outwards(min(low, 0.0)), _round_outwards(max(high, 0.0))) for name, (low, high) in limits.items()
    }


def _round_outwards(limit: float) -> float:
    """Return the next number of `MANTISSA_BITS` bits, from `limit` away from 0."""
    mantissa, exponent = math.frexp(limit)
    scaled = math.ldexp(mantissa, MANTISSA_BITS)
    return math.ldexp(math.floor(scaled) if limit < 0 else math.ceil(scaled), exponent - MANTISSA_BITS)


def _histograms(activations: Callable[[], Activations], extremes: Ranges) -> dict[str, NDArray[np.int64]]:
    counts = {name: np.zeros(HISTOGRAM_BINS, np.int64) for name in extremes}
    for batch in activations():
        for name, values in batch.items():
            counts[name] += np.histogram(values, HISTOGRAM_BINS, extremes[name])[0]
    return counts


def _percentile(counts: NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    cumulative = np.cumsum(counts) / counts.sum()
    first = int(np.searchsorted(cumulative, PERCENTILE_TAIL, side="right"))
    last = int(np.searchsorted(cumulative, 1.0 - PERCENTILE_TAIL))
    width = (high - low) / HISTOGRAM_BINS
    return low + first * width, low + (last + 1) * width


def _entropy(counts: NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    """Clip both sides at the magnitude with the least divergence."""
    largest = max(abs(low), abs(high))
    if largest == 0.0:
        return low, high
    centers = low + (np.arange(HISTOGRAM_BINS) + 0.5) * (high - low) / HISTOGRAM_BINS
    bins = np.minimum((np.abs(centers) / largest * HISTOGRAM_BINS).astype(int), HISTOGRAM_BINS - 1)
    magnitudes = np.bincount(bins, counts, HISTOGRAM_BINS).astype(np.float64)
    magnitudes[0] = 0  # a ReLU's zeros are exact in int8, and would outweigh all else
    if not magnitudes.any():
        return low, high
    thresholds = range(MAGNITUDE_LEVELS, HISTOGRAM_BINS + 1, THRESHOLD_STRIDE)
    threshold = min(thresholds, key=lambda covered: _divergence(magnitudes, covered))
    limit = largest * threshold / HISTOGRAM_BINS
    return max(low, -limit), min(high, limit)


def _divergence(counts: NDArray[np.float64], covered: int) -> float:
    """Return KL(values || int8) where the first `covered` bins are covered and all others clipped into the last."""
    inside = counts[:covered]
    clipped = inside.copy()
    clipped[-1] += counts[covered:].sum()
    level = np.arange(covered) * MAGNITUDE_LEVELS // covered
    filled = np.bincount(level, inside > 0, MAGNITUDE_LEVELS)
    mean = np.bincount(level, inside, MAGNITUDE_LEVELS) / np.maximum(filled, 1)
    quantized = np.where(inside > 0, mean[level], 0.0)
    if not quantized.any():
        return np.inf
    p, q = clipped / clipped.sum(), quantized / quantized.sum()
    positive = p > 0
    return float((p[positive] * np.log(p[positive] / np.maximum(q[positive], 1e-9))).sum())
