#!/usr/bin/env python3
"""Time to load FER2013's csv, beside pandas.read_csv and a Python split() a row. Ends with 1 under 10 times faster.

    python benchmarks/csv_load.py fer2013.csv [--rounds 5]

Every load has a process of its own, in which only it is timed, not the imports; the ways take turns. The file is
read once before, so that it comes from memory for all of them. The yardstick's rows become arrays in the fastest
of the usual ways: np.array(row.split(), np.uint8); [int(p) for p in row.split()] takes nearly twice as long.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from feredge.data import load
from feredge.inference.contract import Images

TARGET = 10.0


def pandas_and_split(path: Path) -> Callable[[], Images]:
    """Return the yardstick."""
    import pandas

    def run() -> Images:
        frame = pandas.read_csv(path)
        return np.stack([np.array(row.split(), np.uint8) for row in frame["pixels"]])

    return run


WAYS: dict[str, Callable[[Path], Callable[[], Images]]] = {
    "pandas.read_csv + split() a row": pandas_and_split,
    "feredge, parsed": lambda path: lambda: load(path, cache=False).images,
    "feredge, cached": lambda path: lambda: load(path).images,
}


def measure(way: str, path: Path) -> dict[str, object]:
    """Load once in this process; return seconds, the process's peak memory, and a digest of the pixels."""
    run = WAYS[way](path)
    start = time.perf_counter()
    images = run()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mb": peak, "pixels": hashlib.sha256(images.tobytes()).hexdigest()}


def main() -> int:
    """Measure every way in turns, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.csv)))
        return 0
    with tempfile.TemporaryDirectory() as cache:
        os.environ["FEREDGE_CACHE"] = cache
        load(args.csv)  # fills the cache, and brings the file into memory
        results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(args.rounds):
            for way, runs in results.items():
                command = [sys.executable, __file__, str(args.csv), "--one", way]
                runs.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    if len({run["pixels"] for runs in results.values() for run in runs}) != 1:
        print("the ways do not agree on the pixels")
        return 1
    yardstick, parsed, _ = (statistics.median(run["seconds"] for run in runs) for runs in results.values())
    print(f"{args.csv}: {args.csv.stat().st_size / 1e6:.0f} MB, {args.rounds} rounds, {os.cpu_count()} CPUs")
    for way, runs in results.items():
        seconds = [run["seconds"] for run in runs]
        middle = statistics.median(seconds)
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        peak = max(run["peak_mb"] for run in runs)
        print(f"{way:32} {middle:7.2f} s ({spread})  {yardstick / middle:6.1f} x  peak {peak:5.0f} MB")
    return 0 if yardstick / parsed >= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
