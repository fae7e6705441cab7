"""Latency statistics of timed runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark.metrics import P99_MIN_SAMPLES, Round, Timing


def summarize_rounds(rounds: Sequence[NDArray[np.int64]]) -> Timing:
    """Return the statistics, in milliseconds, of runs in nanoseconds, one array a round. No outlier is removed."""
    samples_ms = np.concatenate(rounds) / 1e6
    median, p90, p95, p99 = (float(value) for value in np.quantile(samples_ms, (0.5, 0.9, 0.95, 0.99)))
    summaries = tuple(
        Round(len(samples), float(np.median(samples)) / 1e6, float(np.quantile(samples, 0.9)) / 1e6)
        for samples in rounds
    )
    medians = [summary.median for summary in summaries]
    return Timing(
        count=len(samples_ms),
        median=median,
        p90=p90,
        p95=p95,
        p99=p99 if len(samples_ms) >= P99_MIN_SAMPLES else None,
        least=float(samples_ms.min()),
        most=float(samples_ms.max()),
        spread=max(medians) / max(min(medians), 1e-6) - 1,
        rounds=summaries,
    )
