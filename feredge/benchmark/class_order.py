"""Hints that a foreign file's classes are in another order than the one that it is evaluated with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark.candidates import TestSet
from feredge.benchmark.measurement import Measurement
from feredge.inference.contract import CLASSES
from feredge.inference.runtimes import Probabilities

MIN_GAIN = 0.1  # of accuracy; by chance another order gains less on a network that is any good


def class_order_notes(test_sets: Sequence[TestSet], measurements: Sequence[Sequence[Measurement]]) -> Iterator[str]:
    """Yield a sentence for each foreign file that another order of the classes fits far better."""
    for test_set, measured in zip(test_sets, measurements, strict=True):
        test = test_set.splits.test
        for one in measured:
            if one.candidate.variant == "foreign" and one.probabilities is not None:
                hint = order_hint(one.probabilities, test.labels, test.classes)
                if hint:
                    yield f"{one.candidate.name}: {hint}"


def order_hint(probabilities: Probabilities, labels: NDArray[np.int8], classes: Sequence[str]) -> str:
    """Return a sentence if another order of the classes gives a far higher accuracy; empty otherwise.

    Args:
        probabilities: `float32 (N, classes)`, in the order that is assumed.
        labels: `int8 (N,)`.
        classes: names in the order that is assumed.
    """
    predicted = probabilities.argmax(axis=1)
    accuracy = float((predicted == labels).mean())
    for name, order in (("alphabetical order", sorted(classes)), ("FER2013's order", list(CLASSES))):
        if sorted(order) != sorted(classes):
            continue
        positions = np.array([classes.index(label) for label in order])
        other = float((positions[predicted] == labels).mean())
        if other >= accuracy + MIN_GAIN:
            return (
                f"{name} of the classes would give {other:.1%} where this one gives {accuracy:.1%}: "
                f"--classes {','.join(order)}"
            )
    return ""
