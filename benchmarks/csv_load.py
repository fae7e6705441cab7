#!/usr/bin/env python3
"""Benchmark loading FER2013's csv against pandas.read_csv with split() per row. Exits with 1 under a 10x speedup.

    python benchmarks/csv_load.py fer2013.csv [--rounds 5]

Each load runs in a fresh process, timed without the imports; the loaders are interleaved. The file is read once
before, so that all loaders find it in the page cache. The baseline converts rows in the fastest usual way,
np.array(row.split(), np.uint8); [int(p) for p in row.split()] takes nearly twice as long.
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

TARGET_SPEEDUP = 10.0


def pandas_loader(path: Path) -> Callable[[], Images]:
    """Return the baseline loader."""
    import pandas

    def run() -> Images:
        frame = pandas.read_csv(path)
        return np.stack([np.array(row.split(), np.uint8) for row in frame["pixels"]])

    return run


LOADERS: dict[str, Callable[[Path], Callable[[], Images]]] = {
    "pandas.read_csv + split() per row": pandas_loader,
    "feredge, parsed": lambda path: lambda: load(path, cache=False).images,
    "feredge, cached": lambda path: lambda: load(path).images,
}


def measure(loader: str, path: Path) -> dict[str, object]:
    """Load once in this process; return seconds, peak memory and a digest of the pixels."""
    run = LOADERS[loader](path)
    start = time.perf_counter()
    images = run()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mb": peak, "pixels": hashlib.sha256(images.tobytes()).hexdigest()}


def main() -> int:
    """Measure the loaders in interleaved rounds, and print medians and speedups."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loader", choices=LOADERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.loader:
        print(json.dumps(measure(args.loader, args.csv)))
        return 0
    with tempfile.TemporaryDirectory() as cache:
        os.environ["FEREDGE_CACHE"] = cache
        load(args.csv)  # fills feredge's cache and the page cache
        results: dict[str, list[dict[str, float]]] = {loader: [] for loader in LOADERS}
        for _ in range(args.rounds):
            for loader, runs in results.items():
                command = [sys.executable, __file__, str(args.csv), "--loader", loader]
                runs.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    if len({run["pixels"] for runs in results.values() for run in runs}) != 1:
        print("the loaders disagree on the pixels")
        return 1
    baseline, parsed, _ = (statistics.median(run["seconds"] for run in runs) for runs in results.values())
    print(f"{args.csv}: {args.csv.stat().st_size / 1e6:.0f} MB, {args.rounds} rounds, {os.cpu_count()} CPUs")
    for loader, runs in results.items():
        seconds = [run["seconds"] for run in runs]
        median_seconds = statistics.median(seconds)
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        peak = max(run["peak_mb"] for run in runs)
        print(
            f"{loader:34} {median_seconds:7.2f} s ({spread})  {baseline / median_seconds:6.1f} x  peak {peak:5.0f} MB"
        )
    return 0 if baseline / parsed >= TARGET_SPEEDUP else 1


if __name__ == "__main__":
    raise SystemExit(main())
