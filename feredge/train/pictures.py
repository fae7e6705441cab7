"""Training curves and the confusion matrix as PNG files, drawn without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge import files
from feredge.data.dataset import Dataset
from feredge.train.history import History, column

# Two colours of Okabe and Ito's palette, which colour-blind people tell apart.
TRAIN, VALIDATION = "#D55E00", "#0072B2"


def curves(path: Path, history: History) -> None:
    """Draw loss and accuracy of both splits over the epochs."""
    figure = _figure(width=9.0, height=3.6)
    epochs = column(history, "epoch")
    mark = "." if len(epochs) < 20 else ""  # one epoch alone has no line
    for place, name in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, place)
        axes.plot(
            epochs,
            column(history, f"train_{name}"),
            color=TRAIN,
            linestyle="--",
            marker=mark,
            label="train (augmented)",
        )
        checked = column(history, f"validation_{name}")
        if not np.isnan(checked).all():
            axes.plot(epochs, checked, color=VALIDATION, marker=mark, label="validation (averaged weights)")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    _save(figure, path)


def confusion(path: Path, split: Dataset, named: NDArray[np.int64]) -> None:
    """Draw how a split's images of each class were named, each row in percent of its class. No images: no picture."""
    if not len(split):
        return
    classes = len(split.classes)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (split.labels, named), 1)
    totals = counts.sum(axis=1)
    shares = 100 * counts / np.maximum(totals, 1)[:, None]
    figure = _figure(width=1.6 + 0.75 * classes, height=1.2 + 0.7 * classes)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="cividis", vmin=0, vmax=100)
    for row, column_ in np.ndindex(shares.shape):
        ink = "white" if shares[row, column_] < 50 else "black"
        axes.text(column_, row, f"{shares[row, column_]:.0f}", ha="center", va="center", color=ink)
    axes.set_xticks(range(classes), split.classes, rotation=45, ha="right")
    axes.set_yticks(range(classes), [f"{name} ({total})" for name, total in zip(split.classes, totals, strict=True)])
    axes.set(xlabel="named by the network", ylabel="label (images)")
    axes.set_title(f"Percent of each class, {len(split):,} test images", fontsize=11)
    _save(figure, path)


def _figure(*, width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot: it would choose a display and keep global state

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    with files.replacing(path) as temporary:
        figure.savefig(temporary)
