"""Flips: test images whose predicted class differs from the reference's, and their thumbnails for the report page."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark.metrics import Drop
from feredge.benchmark.results import Results

if TYPE_CHECKING:
    from feredge.data.dataset import Dataset

Flip = tuple[int, ...]
"""Row in the data, label, class predicted by the reference, class predicted by the file."""
MAX_DISPLAYED_FLIPS = 24
"""Flips displayed of each file."""
THUMBNAIL_SIZE = 48
"""Height and width in pixels; larger images are downscaled."""


def changed_prediction_thumbnails(results: Results, test_sets: Iterable[Dataset]) -> dict[int, str]:
    """Return the images of all displayed flips as base64 PNGs, by their row in the data.

    They show people: `feredge report --no-faces` leaves them out.
    """
    data_rows = {
        flip[0] for row in results.rows if row.drop and row.kind == "artifact" for flip in displayed_changes(row.drop)
    }
    thumbnails: dict[int, str] = {}
    for test_set in test_sets:
        for index in np.flatnonzero(np.isin(test_set.rows, list(data_rows))):
            thumbnails.setdefault(int(test_set.rows[index]), _png(test_set.images[index]))
    return thumbnails


def displayed_changes(drop: Drop) -> list[Flip]:
    """Return at most MAX_DISPLAYED_FLIPS: newly wrong predictions first, then newly correct ones, then the others."""

    def outcome(flip: Flip) -> int:
        _, label, before, after = flip
        return 0 if before == label else 1 if after == label else 2

    newly_wrong, newly_correct, other_flips = (
        [flip for flip in drop.flipped if outcome(flip) == number] for number in range(3)
    )
    limit = MAX_DISPLAYED_FLIPS
    # Half of the places are for newly wrong predictions; they also get those that the other outcomes leave empty.
    first = newly_wrong[: max(limit // 2, limit - len(newly_correct) - len(other_flips))]
    second = newly_correct[: max(limit // 4, limit - len(first) - len(other_flips))]
    return [*first, *second, *other_flips[: limit - len(first) - len(second)]]


def _png(image: NDArray[np.uint8]) -> str:
    import cv2

    if image.shape[0] > THUMBNAIL_SIZE:
        size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    bgr = np.ascontiguousarray(image.reshape(*image.shape[:2], -1)[:, :, ::-1])  # OpenCV's order
    return base64.b64encode(cv2.imencode(".png", bgr)[1].tobytes()).decode("ascii")
