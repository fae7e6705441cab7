#!/usr/bin/env python3
"""Does training wait for augmentation? Prints images a second with it and without, and their ratio.

    python benchmarks/train_input.py [RECIPE] [--rounds 5] [--steps 40]

Both ways run the same compiled step on the same drawn images; "without" hands it batches that were made before.
Rounds alternate, the ratio is the median over rounds of with / without, and 1.00 means that augmentation is free.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Iterable
from itertools import islice

import numpy as np

import feredge.recipes as recipes
from feredge.train.batches import Batches, Targets
from feredge.train.fitting import Fitter, one_hot, resolve_precision

Batch = tuple[np.ndarray, Targets]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="nano")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40, help="steps a round, at least 10")
    args = parser.parse_args()
    if args.rounds < 1 or args.steps < 10:
        parser.error("expected at least 1 round of at least 10 steps")
    recipe = recipes.load(args.recipe)
    rng = np.random.default_rng(1)
    count, size = recipe.training.batch_size * args.steps, recipe.data.size
    images = rng.integers(0, 256, (count, size, size), np.uint8)
    targets = one_hot(rng.integers(0, 7, count).astype(np.int8), 7)
    how = dataclasses.replace(recipe.augmentation, erase=0.25)  # the most that a recipe asks for
    batches = Batches(images, targets, recipe.training.batch_size, how, 1, recipe.training.epochs)
    precision = resolve_precision(recipe.training.precision)
    fitter = Fitter(recipe.network, recipe.training, precision, batch_shape=batches.shape, classes=7)
    ready = list(batches.epoch(0))
    _speed(fitter, islice(ready, 10))  # warm up: the first call compiles
    rounds = []
    for number in range(args.rounds):
        speeds = {}
        for way in ("with", "without") if number % 2 else ("without", "with"):
            speeds[way] = _speed(fitter, batches.epoch(number) if way == "with" else ready)
        rounds.append((speeds["with"], speeds["without"]))
        print(f"round {number + 1}: {speeds['with']:,.0f} images/s with augmentation, {speeds['without']:,.0f} without")
    ratios = [with_ / without for with_, without in rounds]
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    print(f"{args.recipe}, {precision}: with / without {statistics.median(ratios):.3f} ({spread})")


def _speed(fitter: Fitter, batches: Iterable[Batch]) -> float:
    """Return images a second over `batches`."""
    began, count = time.perf_counter(), 0
    for images, targets in batches:
        fitter.step(images, targets, np.float32(0.01))
        count += len(images)
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
