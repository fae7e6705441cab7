"""Plots of a run's data: images by class and split, and the explained variance of principal components."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from feredge.inference.contract import Images
from feredge.plots.figures import SERIES_COLORS, new_figure, save

VARIANCE_SHARES = (0.90, 0.95, 0.99)


def class_counts(path: Path, splits: dict[str, dict[str, int]]) -> None:
    """Draw the number of images of each class in each split; `splits` is the result of `Splits.counts`."""
    classes = list(next(iter(splits.values())))
    figure = new_figure(width=2.5 + 1.1 * len(classes), height=4.0)
    axes = figure.add_subplot()
    positions, width = np.arange(len(classes)), 0.8 / len(splits)
    for number, ((split, counts), color) in enumerate(
        zip(splits.items(), (SERIES_COLORS[4], SERIES_COLORS[2], SERIES_COLORS[5]), strict=False)
    ):
        offsets = positions + width * (number - (len(splits) - 1) / 2)
        bars = axes.bar(offsets, [counts[name] for name in classes], width, color=color)
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=7.5)
        bars.set_label(f"{split} ({sum(counts.values()):,})")
    axes.set_xticks(positions, classes)
    axes.set(ylabel="images")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(frameon=False, loc="outside upper center", ncols=3)
    save(figure, path)


def explained_variance(path: Path, images: Images) -> None:
    """Draw the cumulative explained variance of the principal components of `uint8 (N, H, W, C)`."""
    pixels = images.reshape(len(images), -1).astype(np.float32) / 255
    pixels -= pixels.mean(axis=0)
    # Both products have the same eigenvalues, apart from zeros; the smaller one is quicker.
    products = pixels.T @ pixels if pixels.shape[1] <= len(pixels) else pixels @ pixels.T
    variances = np.linalg.eigvalsh(products.astype(np.float64))[::-1].clip(0)
    shares = np.cumsum(variances) / max(variances.sum(), np.finfo(float).tiny)
    figure = new_figure(width=6.4, height=4.0)
    axes = figure.add_subplot()
    axes.plot(np.arange(1, len(shares) + 1), shares, color=SERIES_COLORS[4])
    for share in VARIANCE_SHARES:
        count = int(np.searchsorted(shares, share)) + 1
        axes.plot([1, count, count], [share, share, 0], color="gray", linestyle=":", linewidth=1)
        axes.annotate(f"{share:.0%}: {count:,}", (count, share), (6, -12), textcoords="offset points", fontsize=9)
    axes.set(xscale="log", ylim=(0, 1.02), xlabel="principal components", ylabel="cumulative explained variance")
    axes.set_title(f"{len(images):,} training images, {pixels.shape[1]:,} values each", fontsize=11)
    axes.grid(alpha=0.3)
    save(figure, path)
