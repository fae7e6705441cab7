"""Accuracy of one file over all test images, and its drop against the float model on the same images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark import statistics
from feredge.benchmark.metrics import Accuracy, CorruptedAccuracy, Drop, RiskCoverage, SubsetAccuracy, Verdict
from feredge.predictions import calibration_error

Probabilities = NDArray[np.float32]
SIGNIFICANCE_LEVEL = 0.05


def accuracy(
    probabilities: Probabilities, labels: statistics.Labels, *, unique: NDArray[np.bool_] | None = None
) -> Accuracy:
    """Evaluate `float32 (N, classes)` on `labels (N,)`; `unique` marks the images without duplicates in the data."""
    images, classes = probabilities.shape
    predictions = probabilities.argmax(1)
    correct = int((predictions == labels).sum())
    low, high = statistics.wilson_interval(correct, images)
    confusion = statistics.contingency_table(labels, predictions, classes)
    largest = probabilities.max(1, keepdims=True)
    return Accuracy(
        correct=correct,
        images=images,
        accuracy=correct / images,
        low=low,
        high=high,
        recall=tuple(int(row[index]) / int(row.sum()) if row.sum() else None for index, row in enumerate(confusion)),
        confusion=_to_tuples(confusion),
        ece=calibration_error(probabilities, labels),
        confidence=float(largest.mean(dtype=np.float64)),
        ties=int(((probabilities == largest).sum(1) > 1).sum()),
        unique=_subset_accuracy((predictions == labels)[unique]) if unique is not None and unique.any() else None,
        risk_coverage=risk_coverage(largest[:, 0], predictions == labels),
    )


def risk_coverage(confidence: NDArray[np.float32], correct: NDArray[np.bool_]) -> RiskCoverage:
    """Return the risk-coverage curve of `(N,)` predictions.

    Images of equal confidence, of which int8 files have many, count as their mean: their order would be arbitrary.
    """
    _, group, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)  # the most confident first
    mean_correct = (np.bincount(group, weights=correct) / sizes)[np.sort(group)]
    precision = np.cumsum(mean_correct) / np.arange(1, len(correct) + 1)
    answered = np.ceil(np.arange(1, 101) / 100 * len(correct)).astype(int)
    return RiskCoverage(float(1 - precision.mean()), tuple(round(float(value), 6) for value in precision[answered - 1]))


def accuracy_drop(
    reference: Probabilities,
    probabilities: Probabilities,
    labels: statistics.Labels,
    *,
    margin: float,
    seed: int,
    rows: NDArray[np.int64] | None = None,
) -> Drop:
    """Compare a file's probabilities with the float model's, image by image.

    Args:
        margin: in pp; a drop whose intervals lie inside it is *equivalent within the margin*.
        seed: of the bootstrap.
        rows: the images' rows in the data, for `flipped`; their positions by default.
    """
    images, classes = probabilities.shape
    before, after = reference.argmax(1), probabilities.argmax(1)
    lost, won = _discordant(before == labels, after == labels)
    low, high = (100 * end for end in statistics.bootstrap_interval(lost, won, images, seed=seed))
    adjusted_low, adjusted_high = (100 * end for end in statistics.bonett_price_interval(lost, won, images))
    p_value = statistics.mcnemar_p_value(lost, won)
    flips = statistics.contingency_table(before, after, classes)
    np.fill_diagonal(flips, 0)
    changed = np.flatnonzero(before != after)
    changed_rows = changed if rows is None else rows[changed]
    reference_accuracy, file_accuracy = accuracy(reference, labels), accuracy(probabilities, labels)
    return Drop(
        pp=100 * (lost - won) / images,
        low=low,
        high=high,
        adjusted_low=adjusted_low,
        adjusted_high=adjusted_high,
        lost=lost,
        won=won,
        p=p_value,
        agreement=float((before == after).mean()),
        recall=tuple(
            None if new is None or old is None else 100 * (new - old)
            for old, new in zip(reference_accuracy.recall, file_accuracy.recall, strict=True)
        ),
        flips=_to_tuples(flips),
        confidence=file_accuracy.confidence - reference_accuracy.confidence,
        verdict=verdict(lost - won, p_value, (low, high, adjusted_low, adjusted_high), margin),
        flipped=tuple(
            tuple(map(int, flip))
            for flip in zip(changed_rows, labels[changed], before[changed], after[changed], strict=True)
        ),
    )


def verdict(drop: float, p_value: float, interval_ends: tuple[float, ...], margin: float) -> Verdict:
    """Classify an accuracy drop by its p value, its intervals' ends and the equivalence margin, both in pp.

    A negative drop is a gain by the same tests. Equivalence comes first: a significant drop that is smaller than the
    margin is visible in its interval. McNemar's
    exact test is conservative, so intervals that all exclude zero count as evidence too.
    """
    if max(map(abs, interval_ends)) < margin:
        return "equivalent within the margin"
    if drop > 0 and (p_value < SIGNIFICANCE_LEVEL or min(interval_ends) > 0):
        return "drop"
    return "gain" if drop < 0 and (p_value < SIGNIFICANCE_LEVEL or max(interval_ends) < 0) else "no evidence of a drop"


def corrupted_accuracies(
    predictions: Mapping[tuple[str, int], statistics.Labels],
    reference: Mapping[tuple[str, int], statistics.Labels] | None,
    labels: statistics.Labels,
    *,
    seed: int,
) -> tuple[CorruptedAccuracy, ...]:
    """Evaluate predictions on corrupted images, by kind and strength; with a reference's the drop is included."""
    accuracies = []
    for (kind, strength), predicted in predictions.items():
        correct = predicted == labels
        drop = low = high = None
        if reference is not None:
            lost, won = _discordant(reference[kind, strength] == labels, correct)
            drop = 100 * (lost - won) / len(labels)
            low, high = (100 * end for end in statistics.bootstrap_interval(lost, won, len(labels), seed=seed))
        accuracies.append(CorruptedAccuracy(kind, strength, float(correct.mean()), drop, low, high))
    return tuple(accuracies)


def _discordant(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the numbers of discordant pairs: correct only `before`, and only `after`."""
    return int((before & ~after).sum()), int((~before & after).sum())


def _subset_accuracy(correct_images: NDArray[np.bool_]) -> SubsetAccuracy:
    correct, images = int(correct_images.sum()), len(correct_images)
    return SubsetAccuracy(correct, images, correct / images, *statistics.wilson_interval(correct, images))


def _to_tuples(counts: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, row)) for row in counts)
