"""How hard to measure, and what the timed runs amount to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark.metrics import P99_FROM, Round, Timing
from feredge.benchmark.results import Effort
from feredge.inference.runtimes import available_cores

CROP = 96
"""Height and width of the colour crop that preprocessing is timed on: an ordinary face in a video frame."""
PICTURES = 64
"""Different pictures that timed runs cycle through: a forest's time depends on what it sees."""


TURN = 0.5
"""Seconds of a turn: the clock wanders within seconds, and files whose turns lie close together see the same of it."""
MOST_TURNS = 8
"""In a round, at most: each begins with a warm-up."""


def effort(
    name: str,
    *,
    margin: float = 1.0,
    seed: int = 1,
    threads: Sequence[int] = (),
    batches: Sequence[int] = (),
) -> Effort:
    """Return what `quick`, `default` or `strict` means on this machine.

    `default` is the rule: 10 runs and 0.5 s of warm-up, 5 rounds, 10 s and 1,024 runs a row, and corrupted copies of
    1,000 test images, of fewer where files are slow. `strict` times 600 s a row and corrupts every image; `quick`
    times 0.5 s at one thread.

    Args:
        threads: counts to time at beside 1, which is the headline; all cores if not given.
        batches: for throughput; 32 if not given.
    """
    quick = name == "quick"
    return Effort(
        name=name,
        warm_runs=10,
        warm_seconds=0.05 if quick else 0.5,
        rounds=5,
        seconds={"quick": 0.5, "default": 10.0, "strict": 600.0}[name],
        runs=100 if quick else 1024,
        threads=tuple(sorted({1, *(threads or (() if quick else (available_cores(),)))})),
        batches=tuple(sorted(set(batches))) or (() if quick else (32,)),
        cold_starts=1 if quick else 3,
        corrupted={"quick": 0, "default": 1000, "strict": 1_000_000}[name],
        margin=margin,
        seed=seed,
    )


def turns(effort: Effort) -> int:
    """Return how many turns a subject has in a round."""
    return min(MOST_TURNS, max(1, round(effort.seconds / effort.rounds / TURN)))


def order(subjects: int, effort: Effort) -> list[list[int]]:
    """Return who is measured when: every subject `turns` times a round, each time in a random order of its own."""
    random = np.random.default_rng(effort.seed)
    return [random.permutation(subjects).tolist() for _ in range(effort.rounds * turns(effort))]


def summarize(rounds: Sequence[NDArray[np.int64]]) -> Timing:
    """Describe timed runs, nanoseconds in one array a round, as milliseconds. Every run counts."""
    samples = np.concatenate(rounds) / 1e6
    median, p90, p95, p99 = (float(value) for value in np.quantile(samples, (0.5, 0.9, 0.95, 0.99)))
    parts = tuple(
        Round(len(part), float(np.median(part)) / 1e6, float(np.quantile(part, 0.9)) / 1e6) for part in rounds
    )
    medians = [part.median for part in parts]
    return Timing(
        count=len(samples),
        median=median,
        p90=p90,
        p95=p95,
        p99=p99 if len(samples) >= P99_FROM else None,
        least=float(samples.min()),
        most=float(samples.max()),
        spread=max(medians) / max(min(medians), 1e-6) - 1,
        rounds=parts,
    )
