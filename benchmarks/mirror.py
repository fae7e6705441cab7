#!/usr/bin/env python3
"""The cost of mirror averaging: each `dense-mirror` file's time per image over that of the dense file.

    python benchmarks/mirror.py runs/nano/artifacts

Both are timed in short turns, one after the other, on one thread; the median ratio of the turns is printed. Times are
CPU times of that thread, in which other programs on the machine do not count.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from feredge.inference.runtimes import Runner, open_artifact

TURNS = 40
TURN_SECONDS = 0.1


def seconds_per_image(runner: Runner, images: np.ndarray) -> float:
    """Return the median CPU time of single images in a turn, after one call that is not counted."""
    runner.predict(images[:1])
    samples, end = [], time.perf_counter() + TURN_SECONDS
    while time.perf_counter() < end:
        image = images[len(samples) % len(images)][None]
        start = time.thread_time()
        runner.predict(image)
        samples.append(time.thread_time() - start)
    return float(np.median(samples))


def compare_times(dense: Path, mirror: Path) -> tuple[float, float, float]:
    """Return the median ratio of the two files' times per image, and the median time of each in seconds."""
    runners = open_artifact(dense), open_artifact(mirror)
    images = np.random.default_rng(1).integers(0, 256, (64, *runners[0].card.contract.shape), dtype=np.uint8)
    turns = np.array([[seconds_per_image(runner, images) for runner in runners] for _ in range(TURNS)])
    return float(np.median(turns[:, 1] / turns[:, 0])), *np.median(turns, axis=0).tolist()


def main() -> None:
    """Print the ratio of every pair of files in the folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args().folders:
        for path in sorted(folder.glob("dense-mirror.*.*")):
            dense = path.with_name(path.name.replace("dense-mirror", "dense"))
            if not dense.is_file() or path.suffix == ".h":
                continue
            ratio, dense_seconds, mirror_seconds = compare_times(dense, path)
            print(f"{path}: {ratio:.2f} times dense ({1e3 * mirror_seconds:.3f} and {1e3 * dense_seconds:.3f} ms)")


if __name__ == "__main__":
    main()
