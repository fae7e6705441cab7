"""The result type: a classified face."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError, PictureError

PixelBox: TypeAlias = tuple[int, int, int, int]
"""`(x, y, width, height)` in whole pixels."""
UNSURE_LABEL = "unsure"
"""The label of a face whose confidence is below the Predictor's threshold."""


@dataclass(frozen=True, slots=True)
class Face:
    """The classification of one face.

    Attributes:
        label: the class of the highest probability; `unsure` if that is below the Predictor's threshold.
        confidence: the highest probability, 0 to 1.
        scores: the probability of every class, in the order of `classes`.
        classes: the class names.
        box: `(x, y, width, height)` in pixels of the picture, if the face was detected or its box given.
        sure: whether the confidence reaches the threshold; always, for a Predictor without one.
    """

    label: str
    confidence: float
    scores: tuple[float, ...]
    classes: tuple[str, ...] = field(repr=False)
    box: PixelBox | None = None
    sure: bool = True

    @property
    def likeliest(self) -> str:
        """The class of the highest probability, also of a face that is `unsure`."""
        return self.classes[self.scores.index(max(self.scores))]

    @property
    def probabilities(self) -> dict[str, float]:
        """The probability of every class, by class name."""
        return dict(zip(self.classes, self.scores, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        box = None if self.box is None else list(self.box)
        return {
            "label": self.label,
            "confidence": self.confidence,
            "probabilities": self.probabilities,
            "box": box,
        }


PictureResult: TypeAlias = list[Face] | PictureError
"""The faces of one picture, or the reason why it could not be used."""


def to_faces(
    probabilities: NDArray[np.float32],
    boxes: Sequence[PixelBox | None],
    classes: tuple[str, ...],
    *,
    model: str | os.PathLike[str],
    threshold: float = 0.0,
) -> list[Face]:
    """Return a Face for each row of probabilities, `float32 (N, classes)`, and its box.

    A face of a confidence below `threshold` has the label UNSURE_LABEL.

    Raises:
        ArtifactError: `model`, which it names, returned NaN.
    """
    top_classes = probabilities.argmax(axis=1).tolist()
    faces = []
    for scores, index, box in zip(probabilities.tolist(), top_classes, boxes, strict=True):
        confidence = scores[index]
        if confidence != confidence:  # argmax stops at NaN
            raise ArtifactError(f"{model}: expected probabilities, found NaN")
        sure = confidence >= threshold
        faces.append(Face(classes[index] if sure else UNSURE_LABEL, confidence, tuple(scores), classes, box, sure))
    return faces
