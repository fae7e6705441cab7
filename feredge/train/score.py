"""Accuracy and cross-entropy of a network on a split."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import Dataset


@dataclass(frozen=True)
class Score:
    """Number of images, correct predictions, and mean cross-entropy in nats."""

    images: int
    correct: int
    loss: float

    @property
    def accuracy(self) -> float:
        """Correct share of the images; NaN without images."""
        return self.correct / self.images if self.images else math.nan

    def to_json(self) -> dict[str, Any] | None:
        """Return the fields and the accuracy; None for a split without images."""
        if not self.images:
            return None
        return {"images": self.images, "correct": self.correct, "accuracy": self.accuracy, "loss": self.loss}


def score(probabilities: NDArray[np.float32], split: Dataset) -> Score:
    """Score `float32 (N, classes)` predictions of the N images of `split` against its labels."""
    if not len(split):
        return Score(0, 0, math.nan)
    label_probabilities = probabilities[np.arange(len(split)), split.labels].astype(np.float64)
    correct = int((probabilities.argmax(axis=1) == split.labels).sum())
    return Score(len(split), correct, float(-np.log(np.maximum(label_probabilities, 1e-7)).mean()))
