"""Ranges: from what calibration saw in each tensor to the interval that int8 covers, by one of four methods.

* `min-max`: all that was seen.
* `moving-average`: an average of the batches' extremes that leans to the later ones, as quantization-aware training
  keeps it (Jacob et al., 2018).
* `percentile`: without the outermost 0.01% on either side (Wu et al., "Integer quantization for deep learning
  inference", 2020).
* `entropy`: the interval whose int8 histogram diverges least from what was seen (Migacz, "8-bit inference with
  TensorRT", 2017).

The last bits of what is seen depend on the CPU. A range ends on the next coarser number, so that no file does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from feredge.errors import VerificationError

Activations = Iterable[dict[str, NDArray[np.float32]]]
Ranges = dict[str, tuple[float, float]]

DECAY = 0.9  # of the moving average, a batch
OUTER = 1e-4  # share of the values that a percentile range leaves out on either side
BINS = 2048
LEVELS = 128  # of |value| in int8
STRIDE = 16  # thresholds that entropy tries are so many bins apart
KEPT_BITS = 8  # of a range's ends: they move outwards by less than one of int8's 128 steps


def find(activations: Callable[[], Activations], method: str) -> Ranges:
    """Return the range of each tensor, which always holds 0.

    Args:
        activations: called once, or twice where `method` counts values: gives batches of each tensor's values by name.
        method: as above.

    Raises:
        VerificationError: values that are not finite.
    """
    seen: Ranges = {}
    averaged: Ranges = {}
    for batch in activations():
        for name, values in batch.items():
            low, high = float(values.min()), float(values.max())
            if not math.isfinite(high - low):
                raise VerificationError(f"{name}: expected finite values to calibrate on, found {low} to {high}")
            least, most = seen.get(name, (low, high))
            seen[name] = min(least, low), max(most, high)
            before = averaged.get(name, (low, high))
            averaged[name] = DECAY * before[0] + (1 - DECAY) * low, DECAY * before[1] + (1 - DECAY) * high
    if method in ("min-max", "moving-average"):
        found = seen if method == "min-max" else averaged
    else:
        choose = _percentile if method == "percentile" else _entropy
        counts = _histograms(activations, seen)
        found = {name: choose(counts[name], *seen[name]) for name in seen}
    return {name: (_outwards(min(low, 0.0)), _outwards(max(high, 0.0))) for name, (low, high) in found.items()}


def _outwards(end: float) -> float:
    """Return the next number of `KEPT_BITS` bits, from `end` away from 0."""
    mantissa, exponent = math.frexp(end)
    steps = math.ldexp(mantissa, KEPT_BITS)
    return math.ldexp(math.floor(steps) if end < 0 else math.ceil(steps), exponent - KEPT_BITS)


def _histograms(activations: Callable[[], Activations], seen: Ranges) -> dict[str, NDArray[np.int64]]:
    counts = {name: np.zeros(BINS, np.int64) for name in seen}
    for batch in activations():
        for name, values in batch.items():
            counts[name] += np.histogram(values, BINS, seen[name])[0]
    return counts


def _percentile(counts: NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    share = np.cumsum(counts) / counts.sum()
    first = int(np.searchsorted(share, OUTER, side="right"))
    last = int(np.searchsorted(share, 1.0 - OUTER))
    width = (high - low) / BINS
    return low + first * width, low + (last + 1) * width


def _entropy(counts: NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    """Clip both sides at one magnitude, the one at which the divergence is least."""
    largest = max(abs(low), abs(high))
    if largest == 0.0:
        return low, high
    centres = low + (np.arange(BINS) + 0.5) * (high - low) / BINS
    where = np.minimum((np.abs(centres) / largest * BINS).astype(int), BINS - 1)
    folded = np.bincount(where, counts, BINS).astype(np.float64)
    folded[0] = 0  # a ReLU's zeros are exact in int8, and would outweigh all else
    if not folded.any():
        return low, high
    kept = min(range(LEVELS, BINS + 1, STRIDE), key=lambda bins: _divergence(folded, bins))
    limit = largest * kept / BINS
    return max(low, -limit), min(high, limit)


def _divergence(counts: NDArray[np.float64], kept: int) -> float:
    """Return KL(seen || int8) when the first `kept` bins are covered and the rest is clipped into the last of them."""
    inside = counts[:kept]
    seen = inside.copy()
    seen[-1] += counts[kept:].sum()
    level = np.arange(kept) * LEVELS // kept
    filled = np.bincount(level, inside > 0, LEVELS)
    spread = np.bincount(level, inside, LEVELS) / np.maximum(filled, 1)
    coded = np.where(inside > 0, spread[level], 0.0)
    if not coded.any():
        return np.inf
    p, q = seen / seen.sum(), coded / coded.sum()
    where = p > 0
    return float((p[where] * np.log(p[where] / np.maximum(q[where], 1e-9))).sum())
