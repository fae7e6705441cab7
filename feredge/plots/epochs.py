"""A training over its epochs: curves, and how its figures are spread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.plots.figures import TRAIN, VALIDATION, new_figure, save

Columns = dict[str, NDArray[np.float64]]
"""A history's columns by their names in history.csv."""


def curves(path: Path, history: Columns, *, kept: int = 0) -> None:
    """Draw loss and accuracy of both splits over the epochs; a line marks the epoch whose weights were kept."""
    figure = new_figure(width=9.0, height=3.6)
    epochs = history["epoch"]
    mark = "." if len(epochs) < 20 else ""  # one epoch alone has no line
    for place, name in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, place)
        axes.plot(
            epochs, history[f"train_{name}"], color=TRAIN, linestyle="--", marker=mark, label="train, as it learns"
        )
        checked = history[f"validation_{name}"]
        if not np.isnan(checked).all():
            axes.plot(epochs, checked, color=VALIDATION, marker=mark, label="validation, after the epoch")
        if 0 < kept < len(epochs):
            axes.axvline(kept, color="gray", linestyle=":", label=f"kept: epoch {kept}")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    save(figure, path)


def violins(path: Path, history: Columns) -> None:
    """Draw how loss and accuracy are spread over the epochs, a dot an epoch. Under two epochs: no picture."""
    if len(history["epoch"]) < 2:
        return
    figure = new_figure(width=9.0, height=3.8)
    for place, name in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, place)
        series = [
            (split, history[f"{split}_{name}"], color)
            for split, color in (("train", TRAIN), ("validation", VALIDATION))
        ]
        series = [each for each in series if not np.isnan(each[1]).any()]
        for at, (_, values, color) in enumerate(series):
            _violin(axes, at, values, color)
        axes.set_xticks(range(len(series)), [split for split, _, _ in series])
        axes.set(ylabel=f"{name} of each epoch, median as a bar")
        axes.grid(axis="y", alpha=0.3)
    save(figure, path)


def _violin(axes: Any, at: int, values: NDArray[np.float64], color: str) -> None:
    if np.ptp(values) > 0:  # equal values have no density
        for body in axes.violinplot(values, [at], widths=0.7, showextrema=False, showmedians=False)["bodies"]:
            body.set(facecolor=color, alpha=0.35)
    jitter = np.linspace(-0.06, 0.06, len(values))
    axes.plot(at + jitter, values, ".", color=color, markersize=4)
    axes.plot([at - 0.15, at + 0.15], [np.median(values)] * 2, color="black")
