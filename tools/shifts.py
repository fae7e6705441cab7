"""Views of a test image: it, shifted by whole pixels."""

from __future__ import annotations

from typing import Any


def shifted(images: Any, right: int, down: int) -> Any:
    """Return what images `(N, H, W, ...)` show when the eye moves by so many pixels; their edge is repeated."""
    import numpy as np

    reach = max(abs(right), abs(down))
    more = [(0, 0), (reach, reach), (reach, reach), *[(0, 0)] * (images.ndim - 3)]
    top, left, (height, width) = reach + down, reach + right, images.shape[1:3]
    return np.pad(images, more, mode="edge")[:, top : top + height, left : left + width]
