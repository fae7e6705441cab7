"""The data a run was trained on: how many of what, and how many dimensions its pixels fill."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from feredge.inference.contract import Images
from feredge.plots.figures import COLOURS, new_figure, save

MARKS = (0.90, 0.95, 0.99)


def class_counts(path: Path, splits: dict[str, dict[str, int]]) -> None:
    """Draw the images of each class in each split; `splits` as `Splits.counts` gives them."""
    classes = list(next(iter(splits.values())))
    figure = new_figure(width=2.5 + 1.1 * len(classes), height=4.0)
    axes = figure.add_subplot()
    places, width = np.arange(len(classes)), 0.8 / len(splits)
    for number, ((split, counts), color) in enumerate(
        zip(splits.items(), (COLOURS[4], COLOURS[2], COLOURS[5]), strict=False)
    ):
        at = places + width * (number - (len(splits) - 1) / 2)
        bars = axes.bar(at, [counts[name] for name in classes], width, color=color)
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=7.5)
        bars.set_label(f"{split} ({sum(counts.values()):,})")
    axes.set_xticks(places, classes)
    axes.set(ylabel="images")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(frameon=False, loc="outside upper center", ncols=3)
    save(figure, path)


def explained_variance(path: Path, images: Images) -> None:
    """Draw the share of the variance of `uint8 (N, H, W)` that their first principal components hold together."""
    pixels = images.reshape(len(images), -1).astype(np.float32) / 255
    pixels -= pixels.mean(axis=0)
    variances = np.linalg.eigvalsh((pixels.T @ pixels).astype(np.float64))[::-1].clip(0)
    shares = np.cumsum(variances) / max(variances.sum(), np.finfo(float).tiny)
    figure = new_figure(width=6.4, height=4.0)
    axes = figure.add_subplot()
    axes.plot(np.arange(1, len(shares) + 1), shares, color=COLOURS[4])
    for mark in MARKS:
        count = int(np.searchsorted(shares, mark)) + 1
        axes.plot([1, count, count], [mark, mark, 0], color="gray", linestyle=":", linewidth=1)
        axes.annotate(f"{mark:.0%}: {count:,}", (count, mark), (6, -12), textcoords="offset points", fontsize=9)
    axes.set(xscale="log", ylim=(0, 1.02), xlabel="principal components", ylabel="share of the variance")
    axes.set_title(f"{len(images):,} training images, {pixels.shape[1]:,} pixels each", fontsize=11)
    axes.grid(alpha=0.3)
    save(figure, path)
