"""What the harness adds to a timed call: it times an empty function, bare and through the harness.

    python benchmarks/harness_overhead.py

The figure inside a sample is what every latency in a result holds beyond the call itself. Target: 1 microsecond.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from feredge.benchmark.workers.server import timed

RUNS = 200_000
TARGET = 1.0


def empty(item: object) -> None:
    """Do nothing, with the arguments of a runner's predict."""


def bare() -> float:
    """Return the microseconds that one call of `empty` takes in a loop that does nothing else."""
    items = range(RUNS)
    begin = time.perf_counter_ns()
    for item in items:
        empty(item)
    return (time.perf_counter_ns() - begin) / RUNS / 1e3


def main() -> int:
    """Measure, print, and return 1 when the target is missed."""
    call = min(bare() for _ in range(5))
    begin = time.perf_counter_ns()
    samples = timed(empty, [None] * 64, seconds=0.0, runs=RUNS) / 1e3
    around = (time.perf_counter_ns() - begin) / RUNS / 1e3
    inside, p99 = np.quantile(samples, (0.5, 0.99)) - call
    print(f"an empty call, bare:          {call:.3f} us")
    print(f"added inside a sample:        {inside:.3f} us (median), {p99:.3f} us (p99); target at most {TARGET} us")
    print(f"a whole turn of the loop:     {around:.3f} us")
    return int(inside > TARGET)


if __name__ == "__main__":
    sys.exit(main())
