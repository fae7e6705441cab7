"""The time of one file over that of another, in short turns, one after the other."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from feredge.inference.contract import Images
from feredge.inference.runtimes import Runner, open_artifact

TURNS = 40
TURN_SECONDS = 0.1


def compare_times(first: Path, second: Path) -> tuple[float, float, float]:
    """Compare the CPU time per image of two files of one input, on one thread; other programs' time does not count.

    Returns:
        The median over the turns of the second's time over the first's, and the median time of each in seconds.
    """
    runners = open_artifact(first), open_artifact(second)
    images = np.random.default_rng(1).integers(0, 256, (64, *runners[0].card.contract.shape), dtype=np.uint8)
    turns = np.array([[_seconds_per_image(runner, images) for runner in runners] for _ in range(TURNS)])
    return float(np.median(turns[:, 1] / turns[:, 0])), *np.median(turns, axis=0).tolist()


def _seconds_per_image(runner: Runner, images: Images) -> float:
    """Return the median CPU time of single images in a turn, after one call that is not counted."""
    runner.predict(images[:1])
    samples: list[float] = []
    end = time.perf_counter() + TURN_SECONDS
    while time.perf_counter() < end:
        image = images[len(samples) % len(images)][None]
        start = time.thread_time()
        runner.predict(image)
        samples.append(time.thread_time() - start)
    return float(np.median(samples))
