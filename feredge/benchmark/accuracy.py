"""Accuracy of one file over every test image, and its drop against the float model on the same images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark import statistics
from feredge.benchmark.metrics import Accuracy, Corrupted, Drop, Share, Verdict

Probabilities = NDArray[np.float32]
SIGNIFICANT = 0.05


def accuracy(
    probabilities: Probabilities, labels: statistics.Labels, *, unique: NDArray[np.bool_] | None = None
) -> Accuracy:
    """Describe `float32 (N, classes)` against `labels (N,)`; `unique` marks images that stand nowhere else."""
    images, classes = probabilities.shape
    guess = probabilities.argmax(1)
    correct = int((guess == labels).sum())
    low, high = statistics.wilson(correct, images)
    confusion = statistics.table(labels, guess, classes)
    largest = probabilities.max(1, keepdims=True)
    return Accuracy(
        correct=correct,
        images=images,
        accuracy=correct / images,
        low=low,
        high=high,
        recall=tuple(int(row[index]) / int(row.sum()) if row.sum() else None for index, row in enumerate(confusion)),
        confusion=_rows(confusion),
        ece=statistics.calibration_error(probabilities, labels),
        confidence=float(largest.mean(dtype=np.float64)),
        ties=int(((probabilities == largest).sum(1) > 1).sum()),
        unique=_share((guess == labels)[unique]) if unique is not None and unique.any() else None,
    )


def drop(
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
        margin: in pp; an interval wholly inside it is *equivalent within the margin*.
        seed: of the bootstrap.
        rows: the images' rows in the data, by which those that flipped are named; their positions if not given.
    """
    images, classes = probabilities.shape
    before, after = reference.argmax(1), probabilities.argmax(1)
    right_before, right_after = before == labels, after == labels
    lost, won = _discordant(right_before, right_after)
    interval = tuple(100 * end for end in statistics.bootstrap(lost, won, images, seed=seed))
    careful = tuple(100 * end for end in statistics.adjusted(lost, won, images))
    p = statistics.mcnemar(lost, won)
    flips = statistics.table(before, after, classes)
    np.fill_diagonal(flips, 0)
    changed = np.flatnonzero(before != after)
    named = changed if rows is None else rows[changed]
    first, second = accuracy(reference, labels), accuracy(probabilities, labels)
    return Drop(
        pp=100 * (lost - won) / images,
        low=interval[0],
        high=interval[1],
        adjusted_low=careful[0],
        adjusted_high=careful[1],
        lost=lost,
        won=won,
        p=p,
        agreement=float((before == after).mean()),
        recall=tuple(
            None if new is None or old is None else 100 * (new - old)
            for old, new in zip(first.recall, second.recall, strict=True)
        ),
        flips=_rows(flips),
        confidence=second.confidence - first.confidence,
        verdict=verdict(lost - won, p, (*interval, *careful), margin),
        flipped=tuple(
            tuple(map(int, found))
            for found in zip(named, labels[changed], before[changed], after[changed], strict=True)
        ),
    )


def verdict(drop: float, p: float, ends: tuple[float, ...], margin: float) -> Verdict:
    """Put a drop in words. `ends` are the ends, in pp, of every interval that must lie inside the margin.

    Equivalence comes first: a drop that is certain but smaller than the margin is shown by its interval. McNemar's
    exact test asks for more than its level says, so intervals that all leave zero out are evidence too.
    """
    if max(map(abs, ends)) < margin:
        return "equivalent within the margin"
    return "drop" if drop > 0 and (p < SIGNIFICANT or min(ends) > 0) else "no evidence of a drop"


def corrupted(
    copies: Mapping[tuple[str, int], statistics.Labels],
    reference: Mapping[tuple[str, int], statistics.Labels] | None,
    labels: statistics.Labels,
    *,
    seed: int,
) -> tuple[Corrupted, ...]:
    """Describe the classes named on corrupted copies, by kind and strength; beside the float model's, if given."""
    found = []
    for (kind, strength), named in copies.items():
        right = named == labels
        drop = low = high = None
        if reference is not None:
            lost, won = _discordant(reference[kind, strength] == labels, right)
            drop = 100 * (lost - won) / len(labels)
            low, high = (100 * end for end in statistics.bootstrap(lost, won, len(labels), seed=seed))
        found.append(Corrupted(kind, strength, float(right.mean()), drop, low, high))
    return tuple(found)


def _discordant(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many images only `before` has right, and only `after`."""
    return int((before & ~after).sum()), int((~before & after).sum())


def _share(right: NDArray[np.bool_]) -> Share:
    correct, images = int(right.sum()), len(right)
    return Share(correct, images, correct / images, *statistics.wilson(correct, images))


def _rows(counts: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, row)) for row in counts)
