"""The pictures whose answer changed, as small PNGs for the page. They show people: a report can be made without."""

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

MOST = 24
"""Faces shown of each file."""
SIDE = 48
"""Pixels; larger images are made smaller."""


def faces(results: Results, tests: Iterable[Dataset]) -> dict[int, str]:
    """Return base64 PNGs of the images that `shown` names, by their row in the data."""
    wanted = {found[0] for row in results.rows if row.drop and row.kind == "artifact" for found in shown(row.drop)}
    pictures: dict[int, str] = {}
    for test in tests:
        for index in np.flatnonzero(np.isin(test.rows, list(wanted))):
            pictures.setdefault(int(test.rows[index]), _png(test.images[index]))
    return pictures


def shown(drop: Drop) -> list[tuple[int, ...]]:
    """Return the flips that are shown, the most telling first: what was lost, what was won, other changes."""

    def kind(found: tuple[int, ...]) -> int:
        _, label, before, after = found
        return 0 if before == label else 1 if after == label else 2

    kinds = [[found for found in drop.flipped if kind(found) == number] for number in range(3)]
    # Half of the places to what was lost, as long as the others fill theirs.
    first = kinds[0][: max(MOST // 2, MOST - len(kinds[1]) - len(kinds[2]))]
    second = kinds[1][: max(MOST // 4, MOST - len(first) - len(kinds[2]))]
    return [*first, *second, *kinds[2][: MOST - len(first) - len(second)]]


def _png(image: NDArray[np.uint8]) -> str:
    import cv2

    if image.shape[0] > SIDE:
        image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode("ascii")
