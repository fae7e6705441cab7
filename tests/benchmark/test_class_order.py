"""The order of a foreign file's classes: a hint where another fits far better."""

from __future__ import annotations

import numpy as np

from feredge.benchmark.class_order import order_hint
from feredge.inference.contract import CLASSES


def test_alphabetical_order_is_hinted_at() -> None:
    """Guards the usual mistake: a network trained on class folders, evaluated in FER2013's order."""
    labels = np.arange(70, dtype=np.int8) % 7
    alphabetical = sorted(CLASSES)
    rows = np.eye(7, dtype=np.float32)[[alphabetical.index(CLASSES[label]) for label in labels]]
    hint = order_hint(rows, labels, CLASSES)
    assert hint.startswith("alphabetical order of the classes would give 100.0% where this one gives 57.1%")
    assert hint.endswith("--classes angry,disgust,fear,happy,neutral,sad,surprise")
    assert order_hint(rows, labels, ("a", "b", "c", "d", "e", "f", "g")) == ""
    right = np.eye(7, dtype=np.float32)[labels]
    assert order_hint(right, labels, CLASSES) == ""
    assert order_hint(
        right, np.array([alphabetical.index(CLASSES[label]) for label in labels]), alphabetical
    ).startswith("FER2013's")
