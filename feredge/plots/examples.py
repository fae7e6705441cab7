"""Single test images: what they show, what they are labelled, and what the network said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.inference.contract import Images
from feredge.plots.figures import RIGHT, WRONG, new_figure, save
from feredge.predictions import Predictions

ACROSS, DOWN = 6, 4
SINGLES = 6


def grid(path: Path, predictions: Predictions, images: Images) -> None:
    """Draw faces spread evenly over the test images, each with its label and what it was named."""
    chosen = np.linspace(0, len(images) - 1, min(ACROSS * DOWN, len(images))).astype(int)
    _faces(path, predictions, images, chosen, "Test images, evenly chosen")


def mistakes(path: Path, predictions: Predictions, images: Images) -> None:
    """Draw the mistakes that the network was surest of, the surest first. None: no picture."""
    wrong = np.flatnonzero(predictions.wrong)
    sure = predictions.probabilities.max(axis=1)[wrong]
    chosen = wrong[np.argsort(-sure, kind="stable")][: ACROSS * DOWN]
    if len(chosen):
        _faces(path, predictions, images, chosen, f"The surest of {len(wrong):,} mistakes")


def singles(path: Path, predictions: Predictions, images: Images) -> None:
    """Draw some faces, every second one a mistake, each beside the probabilities of all classes."""
    right, wrong = np.flatnonzero(~predictions.wrong), np.flatnonzero(predictions.wrong)
    pairs = [part[np.linspace(0, len(part) - 1, SINGLES // 2).astype(int)] for part in (right, wrong) if len(part)]
    chosen = np.stack(pairs, axis=1).ravel()
    figure = new_figure(width=9.0, height=0.5 + 0.95 * len(chosen) + 0.12 * len(predictions.classes))
    cells = figure.subplots((len(chosen) + 1) // 2, 4, width_ratios=(1, 1.5, 1, 1.5), squeeze=False)
    for axes in cells.flat:
        axes.set_axis_off()
    for (face, bars), index in zip(cells.reshape(-1, 2), chosen, strict=False):
        _face(face, predictions, images, index)
        _bars(bars, predictions, index)
    save(figure, path)


def _faces(path: Path, predictions: Predictions, images: Images, chosen: NDArray[np.int64], title: str) -> None:
    figure = new_figure(width=1.7 * ACROSS, height=0.5 + 2.1 * -(-len(chosen) // ACROSS))
    cells = figure.subplots(-(-len(chosen) // ACROSS), ACROSS, squeeze=False)
    for axes in cells.flat:
        axes.set_axis_off()
    for axes, index in zip(cells.flat, chosen, strict=False):
        _face(axes, predictions, images, index)
    figure.suptitle(f"{title}: the label, and what the network said", fontsize=11)
    save(figure, path)


def _face(axes: Any, predictions: Predictions, images: Images, index: int) -> None:
    axes.set_axis_on()
    axes.imshow(images[index], cmap="gray", vmin=0, vmax=255)
    axes.set(xticks=[], yticks=[])
    label, named = predictions.classes[predictions.labels[index]], predictions.classes[predictions.predicted[index]]
    sure = f"{predictions.probabilities[index].max():.0%}"
    color = WRONG if label != named else RIGHT
    axes.set_title(f"{label}\nnamed {named if label != named else 'so'}, {sure}", fontsize=9, color=color)
    for side in axes.spines.values():
        side.set(color=color, linewidth=2)


def _bars(axes: Any, predictions: Predictions, index: int) -> None:
    axes.set_axis_on()
    label, named = predictions.labels[index], predictions.predicted[index]
    colors = ["#B0B0B0"] * len(predictions.classes)
    colors[named] = WRONG
    colors[label] = RIGHT
    axes.barh(predictions.classes, predictions.probabilities[index], color=colors)
    axes.set(xlim=(0, 1))
    axes.tick_params(labelsize=8)
    axes.invert_yaxis()
