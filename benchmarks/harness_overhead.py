"""Overhead of the harness per timed call, measured on an empty function.

    python benchmarks/harness_overhead.py

The overhead inside a sample is part of every reported latency. Target: at most 1 microsecond.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from feredge.benchmark.workers.server import time_calls

TIMED_CALLS = 200_000
MAX_OVERHEAD_US = 1.0


def empty(item: object) -> None:
    """Do nothing, with the arguments of a runner's predict."""


def bare_call_us() -> float:
    """Return the microseconds that one call of `empty` takes in a plain loop."""
    items = range(TIMED_CALLS)
    start = time.perf_counter_ns()
    for item in items:
        empty(item)
    return (time.perf_counter_ns() - start) / TIMED_CALLS / 1e3


def main() -> int:
    """Measure and print the overhead; return 1 if it exceeds the target."""
    call_us = min(bare_call_us() for _ in range(5))
    start = time.perf_counter_ns()
    samples_us = time_calls(empty, [None] * 64, seconds=0.0, runs=TIMED_CALLS) / 1e3
    iteration_us = (time.perf_counter_ns() - start) / TIMED_CALLS / 1e3
    median_us, p99_us = np.quantile(samples_us, (0.5, 0.99)) - call_us
    print(f"an empty call in a plain loop:   {call_us:.3f} us")
    print(
        f"overhead inside a sample:        {median_us:.3f} us (median), {p99_us:.3f} us (p99); "
        f"target at most {MAX_OVERHEAD_US} us"
    )
    print(f"one iteration of the timed loop: {iteration_us:.3f} us")
    return int(median_us > MAX_OVERHEAD_US)


if __name__ == "__main__":
    sys.exit(main())
