#!/usr/bin/env python3
"""Whether thresholds of `unsure` keep the precision that they promise, on halves of FER2013's PublicTest.

    python benchmarks/unsure.py fer2013.csv [--splits 100]

For each int8 file of models/, its predictions on the PublicTest images without duplicates are split at random, again
and again: a threshold is chosen on one half, as `feredge calibrate` chooses it, and the precision above it is measured
on the other half. This demonstrates the method. It gives no thresholds to ship: PublicTest has selected these networks,
so that their confidence is slightly too good on both halves alike. Results: benchmarks/results/unsure.json and
benchmarks/unsure.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge import files
from feredge.benchmark.statistics import clopper_pearson_lower_bound
from feredge.benchmark.thresholds import CONFIDENCE_LEVEL, choose_threshold
from feredge.data import load, split, unique_test_mask
from feredge.importing.from_onnx import read_recipe
from feredge.inference.runtimes import Probabilities, open_artifact

FOLDER = Path(__file__).parent
MODELS_FOLDER = FOLDER.parent / "models"
NETWORKS = ("nano", "small", "base")
INT8_FILES = ("dense.int8.onnx", "dense.int8.tflite")
PRECISIONS = (0.8, 0.9, 0.95)
BATCH = 64


def main() -> None:
    """Measure all files, and write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--splits", type=int, default=100)
    args = parser.parse_args()
    dataset = load(args.data)
    rows = []
    for network in NETWORKS:
        splits = split(dataset, read_recipe(MODELS_FOLDER / network).data)
        test = splits.test.take(np.flatnonzero(unique_test_mask(dataset, splits)))
        for file in INT8_FILES:
            runner = open_artifact(MODELS_FOLDER / network / file)
            starts = range(0, len(test), BATCH)
            probabilities = np.concatenate([runner.predict(test.images[at : at + BATCH]) for at in starts])
            for precision in PRECISIONS:
                measured = measure(probabilities, test.labels, precision, splits=args.splits)
                rows.append({"file": f"{network}/{file}", "precision": precision, **measured})
                print(rows[-1])
    results = {"schema": 1, "data": dataset.digest, "splits": args.splits, "images": len(test), "rows": rows}
    files.write_json(FOLDER / "results/unsure.json", results)
    files.write_text(FOLDER / "unsure.md", page(results))


def measure(probabilities: Probabilities, labels: NDArray[Any], precision: float, *, splits: int) -> dict[str, Any]:
    """Choose a threshold on one half of the images and measure on the other, for several random splits.

    Returns:
        `chosen`: the fraction of splits with a threshold. Of these: medians of `threshold`, `coverage` and
        `measured_precision` on the other half, the fraction `kept` in which its precision is at least the promised one,
        and `consistent`, in which the upper end of its 95% interval (Clopper and Pearson 1934) reaches the promise.
    """
    outcomes = []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(labels))
        first, second = order[: len(order) // 2], order[len(order) // 2 :]
        threshold = choose_threshold(probabilities[first], labels[first], precision).threshold
        if threshold is None:
            continue
        sure = second[probabilities[second].max(1) >= threshold]
        correct = int((probabilities[sure].argmax(1) == labels[sure]).sum())
        upper = 1 - clopper_pearson_lower_bound(len(sure) - correct, len(sure), 0.975)
        measured = correct / len(sure)
        outcomes.append((threshold, len(sure) / len(second), measured, measured >= precision, upper >= precision))
    row: dict[str, Any] = {"chosen": len(outcomes) / splits}
    if outcomes:
        values = np.array(outcomes, float)
        medians = dict(zip(("threshold", "coverage", "measured_precision"), np.median(values, axis=0), strict=False))
        row |= {name: float(value) for name, value in medians.items()}
        row |= {"kept": float(values[:, 3].mean()), "consistent": float(values[:, 4].mean())}
    return row


def page(results: dict[str, Any]) -> str:
    """Return benchmarks/unsure.md."""
    lines = [
        "# Thresholds of `unsure` on halves of PublicTest",
        "",
        f"Written by `benchmarks/unsure.py`: {results['splits']} random splits of the {results['images']:,} PublicTest",
        "images without duplicates. A threshold is chosen on one half, as `feredge calibrate` chooses it, and its",
        "precision is measured on the other. Over the splits in which there is a threshold: medians, the percentage in",
        f"which the measured precision is at least the promised one (of unlimited images, {CONFIDENCE_LEVEL:.0%} are",
        "promised), and in which the upper end of its 95% interval reaches it. A demonstration of the method:",
        "PublicTest has selected these networks, so these thresholds are not shipped.",
        "",
        "| file | promised % | threshold in % of splits | threshold | coverage % | measured % | kept % | reached % |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in results["rows"]:
        start = f"| `{row['file']}` | {100 * row['precision']:.0f} | {100 * row['chosen']:.0f} |"
        if not row["chosen"]:
            lines.append(f"{start} none | | | | |")
            continue
        lines.append(
            f"{start} {row['threshold']:.2f} | {100 * row['coverage']:.0f} | {100 * row['measured_precision']:.1f} | "
            f"{100 * row['kept']:.0f} | {100 * row['consistent']:.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
