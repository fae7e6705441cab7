"""Plots of a training history: learning curves, and the distribution of loss and accuracy over the epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge.plots.figures import TRAIN_COLOR, VALIDATION_COLOR, Axes, new_figure, save

Columns = dict[str, NDArray[np.float64]]
"""Columns of history.csv by name."""


def curves(path: Path, history: Columns, *, kept_epoch: int = 0) -> None:
    """Draw training and validation loss and accuracy over the epochs; a line marks the epoch whose weights are kept."""
    figure = new_figure(width=9.0, height=3.6)
    epochs = history["epoch"]
    marker = "." if len(epochs) < 20 else ""  # a single epoch has no line
    for panel, name in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, panel)
        axes.plot(
            epochs,
            history[f"train_{name}"],
            color=TRAIN_COLOR,
            linestyle="--",
            marker=marker,
            label="train, during the epoch",
        )
        validation = history[f"validation_{name}"]
        if not np.isnan(validation).all():
            axes.plot(epochs, validation, color=VALIDATION_COLOR, marker=marker, label="validation, after the epoch")
        if 0 < kept_epoch < len(epochs):
            axes.axvline(kept_epoch, color="gray", linestyle=":", label=f"kept: epoch {kept_epoch}")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    save(figure, path)


def violins(path: Path, history: Columns) -> None:
    """Draw violin plots of loss and accuracy over the epochs, with a dot for each. Nothing under two epochs."""
    if len(history["epoch"]) < 2:
        return
    figure = new_figure(width=9.0, height=3.8)
    for panel, name in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, panel)
        series = [
            (split, history[f"{split}_{name}"], color)
            for split, color in (("train", TRAIN_COLOR), ("validation", VALIDATION_COLOR))
        ]
        series = [entry for entry in series if not np.isnan(entry[1]).any()]
        for position, (_, values, color) in enumerate(series):
            _draw_violin(axes, position, values, color)
        axes.set_xticks(range(len(series)), [split for split, _, _ in series])
        axes.set(ylabel=f"{name} of each epoch, median as a bar")
        axes.grid(axis="y", alpha=0.3)
    save(figure, path)


def _draw_violin(axes: Axes, position: int, values: NDArray[np.float64], color: str) -> None:
    if np.ptp(values) > 0:  # equal values have no density estimate
        for body in axes.violinplot(values, [position], widths=0.7, showextrema=False, showmedians=False)["bodies"]:
            body.set(facecolor=color, alpha=0.35)
    jitter = np.linspace(-0.06, 0.06, len(values))
    axes.plot(position + jitter, values, ".", color=color, markersize=4)
    axes.plot([position - 0.15, position + 0.15], [np.median(values)] * 2, color="black")
