#!/usr/bin/env python3
"""The cost of mirror averaging: each `dense-mirror` file's time per image over that of the dense file.

    python benchmarks/mirror.py runs/nano/artifacts

Both are timed in short turns, one after the other, on one thread; the median ratio of the turns is printed.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from feredge.inference.runtimes import Runner, open_artifact

TURNS = 40
TURN_SECONDS = 0.1


def seconds_per_image(runner: Runner, images: np.ndarray) -> float:
    """Return the median time of single images in a turn, after one call that is not counted."""
    runner.predict(images[:1])
    samples, end = [], time.perf_counter() + TURN_SECONDS
    while time.perf_counter() < end:
        image = images[len(samples) % len(images)][None]
        start = time.perf_counter()
        runner.predict(image)
        samples.append(time.perf_counter() - start)
    return float(np.median(samples))


def main() -> None:
    """Print the ratio of every pair of files in the folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args().folders:
        for path in sorted(folder.glob("dense-mirror.*.*")):
            dense = path.with_name(path.name.replace("dense-mirror", "dense"))
            if not dense.is_file() or path.suffix == ".h":
                continue
            runners = open_artifact(dense), open_artifact(path)
            images = np.random.default_rng(1).integers(0, 256, (64, *runners[0].card.contract.shape), dtype=np.uint8)
            turns = np.array([[seconds_per_image(runner, images) for runner in runners] for _ in range(TURNS)])
            dense_ms, mirror_ms = 1e3 * np.median(turns, axis=0)
            ratio = float(np.median(turns[:, 1] / turns[:, 0]))
            print(f"{path}: {ratio:.2f} times dense ({mirror_ms:.3f} and {dense_ms:.3f} ms)")


if __name__ == "__main__":
    main()
