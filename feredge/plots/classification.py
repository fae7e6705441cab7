"""Plots of the classification of the test images: confusion matrix, class scores, ROC curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from feredge.plots.figures import new_figure, save, style
from feredge.predictions import Predictions, report


def confusion(path: Path, predictions: Predictions) -> None:
    """Draw the confusion matrix, each row in percent of its class. Nothing without images."""
    if not len(predictions.labels):
        return
    classes = len(predictions.classes)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (predictions.labels, predictions.predicted), 1)
    totals = counts.sum(axis=1)
    shares = 100 * counts / np.maximum(totals, 1)[:, None]
    figure = new_figure(width=1.6 + 0.75 * classes, height=1.2 + 0.7 * classes)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="cividis", vmin=0, vmax=100)
    for row, column in np.ndindex(shares.shape):
        text_color = "white" if shares[row, column] < 50 else "black"
        axes.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", color=text_color)
    names = [f"{name} ({total})" for name, total in zip(predictions.classes, totals, strict=True)]
    axes.set_xticks(range(classes), predictions.classes, rotation=45, ha="right")
    axes.set_yticks(range(classes), names)
    axes.set(xlabel="predicted class", ylabel="label (images)")
    axes.set_title(f"Percent of each class, {len(predictions.labels):,} test images", fontsize=11)
    save(figure, path)


def class_scores(path: Path, predictions: Predictions) -> None:
    """Draw precision, recall and F1 of each class as bars, with their macro averages in the legend."""
    table = report(predictions)
    figure = new_figure(width=2.5 + 1.1 * len(predictions.classes), height=4.2)
    axes = figure.add_subplot()
    positions = np.arange(len(predictions.classes))
    for number, (key, color) in enumerate((("precision", "#56B4E9"), ("recall", "#E69F00"), ("f1-score", "#0072B2"))):
        values = [table[name][key] for name in predictions.classes]
        legend_label = f"{key.removesuffix('-score').capitalize()} (mean {table['macro avg'][key]:.3f})"
        bars = axes.bar(positions + 0.27 * (number - 1), values, width=0.26, color=color, label=legend_label)
        axes.bar_label(bars, fmt=lambda value: f"{value:.2f}".removeprefix("0"), fontsize=7.5)
    axes.set_xticks(positions, [f"{name}\n{table[name]['support']:.0f} images" for name in predictions.classes])
    axes.set(ylim=(0, 1.0), ylabel="share")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(frameon=False, loc="outside upper center", ncols=3)
    save(figure, path)


def roc(path: Path, predictions: Predictions) -> None:
    """Draw one-vs-rest ROC curves with the area under each."""
    from sklearn.metrics import roc_auc_score, roc_curve

    figure = new_figure(width=5.6, height=5.4)
    axes = figure.add_subplot()
    aucs = []
    for number, name in enumerate(predictions.classes):
        is_class = predictions.labels == number
        if not 0 < is_class.sum() < len(is_class):
            continue  # undefined without both positives and negatives
        false_positive_rate, true_positive_rate, _ = roc_curve(is_class, predictions.probabilities[:, number])
        aucs.append(roc_auc_score(is_class, predictions.probabilities[:, number]))
        axes.plot(false_positive_rate, true_positive_rate, label=f"{name} {aucs[-1]:.3f}", **style(number))
    axes.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    axes.set_title(f"One-vs-rest ROC, mean AUC {np.mean(aucs) if aucs else 0:.3f}", fontsize=11)
    axes.grid(alpha=0.3)
    if aucs:
        axes.legend(frameon=False, title="AUC", loc="lower right")
    save(figure, path)
