"""Plots of single test images with label and prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge.inference.contract import Images
from feredge.plots.figures import CORRECT_COLOR, WRONG_COLOR, Axes, new_figure, save
from feredge.predictions import Predictions

GRID_COLUMNS, GRID_ROWS = 6, 4
SINGLE_FACES = 6


def grid(path: Path, predictions: Predictions, images: Images) -> None:
    """Draw evenly spaced test images, each with label and prediction."""
    selected = np.linspace(0, len(images) - 1, min(GRID_COLUMNS * GRID_ROWS, len(images))).astype(int)
    _faces(path, predictions, images, selected, "Evenly spaced test images")


def mistakes(path: Path, predictions: Predictions, images: Images) -> None:
    """Draw the misclassified images of the highest confidence, in descending order. Nothing if there are none."""
    wrong = np.flatnonzero(predictions.wrong)
    confidence = predictions.probabilities.max(axis=1)[wrong]
    selected = wrong[np.argsort(-confidence, kind="stable")][: GRID_COLUMNS * GRID_ROWS]
    if len(selected):
        _faces(path, predictions, images, selected, f"The most confident of {len(wrong):,} misclassified images")


def singles(path: Path, predictions: Predictions, images: Images) -> None:
    """Draw some images, half of them misclassified, each with the probabilities of all classes."""
    right, wrong = np.flatnonzero(~predictions.wrong), np.flatnonzero(predictions.wrong)
    pairs = [part[np.linspace(0, len(part) - 1, SINGLE_FACES // 2).astype(int)] for part in (right, wrong) if len(part)]
    selected = np.stack(pairs, axis=1).ravel()
    figure = new_figure(width=9.0, height=0.5 + 0.95 * len(selected) + 0.12 * len(predictions.classes))
    cells = figure.subplots((len(selected) + 1) // 2, 4, width_ratios=(1, 1.5, 1, 1.5), squeeze=False)
    for axes in cells.flat:
        axes.set_axis_off()
    for (face, bars), index in zip(cells.reshape(-1, 2), selected, strict=False):
        _face(face, predictions, images, index)
        _bars(bars, predictions, index)
    save(figure, path)


def _faces(path: Path, predictions: Predictions, images: Images, selected: NDArray[np.int64], title: str) -> None:
    figure = new_figure(width=1.7 * GRID_COLUMNS, height=0.5 + 2.1 * -(-len(selected) // GRID_COLUMNS))
    cells = figure.subplots(-(-len(selected) // GRID_COLUMNS), GRID_COLUMNS, squeeze=False)
    for axes in cells.flat:
        axes.set_axis_off()
    for axes, index in zip(cells.flat, selected, strict=False):
        _face(axes, predictions, images, index)
    figure.suptitle(f"{title}: label and prediction", fontsize=11)
    save(figure, path)


def _face(axes: Axes, predictions: Predictions, images: Images, index: int) -> None:
    axes.set_axis_on()
    axes.imshow(images[index], cmap="gray", vmin=0, vmax=255)  # the colour map is for one channel
    axes.set(xticks=[], yticks=[])
    label, predicted = predictions.classes[predictions.labels[index]], predictions.classes[predictions.predicted[index]]
    confidence = f"{predictions.probabilities[index].max():.0%}"
    color = WRONG_COLOR if label != predicted else CORRECT_COLOR
    axes.set_title(f"label {label}\n{predicted} {confidence}", fontsize=9, color=color)
    for side in axes.spines.values():
        side.set(color=color, linewidth=2)


def _bars(axes: Axes, predictions: Predictions, index: int) -> None:
    axes.set_axis_on()
    label, predicted = predictions.labels[index], predictions.predicted[index]
    colors = ["#B0B0B0"] * len(predictions.classes)
    colors[predicted] = WRONG_COLOR
    colors[label] = CORRECT_COLOR
    axes.barh(predictions.classes, predictions.probabilities[index], color=colors)
    axes.set(xlim=(0, 1))
    axes.tick_params(labelsize=8)
    axes.invert_yaxis()
