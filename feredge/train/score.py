"""The score of a network on a split."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import Dataset


@dataclass(frozen=True)
class Score:
    """How many of a split's images were named right; the loss is the mean cross-entropy, in nats."""

    images: int
    correct: int
    loss: float

    @property
    def accuracy(self) -> float:
        """Share of the images, NaN without any."""
        return self.correct / self.images if self.images else math.nan

    def to_json(self) -> dict[str, Any] | None:
        """Return counts and shares, None for a split without images."""
        if not self.images:
            return None
        return {"images": self.images, "correct": self.correct, "accuracy": self.accuracy, "loss": self.loss}


def score(probabilities: NDArray[np.float32], split: Dataset) -> Score:
    """Compare `float32 (N, classes)` with the labels of the N images of `split`."""
    if not len(split):
        return Score(0, 0, math.nan)
    named = probabilities[np.arange(len(split)), split.labels].astype(np.float64)
    correct = int((probabilities.argmax(axis=1) == split.labels).sum())
    return Score(len(split), correct, float(-np.log(np.maximum(named, 1e-7)).mean()))
