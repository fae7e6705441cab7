"""Shifted views of test images."""

from __future__ import annotations

from typing import Any


def shifted(images: Any, right: int, down: int) -> Any:
    """Return images `(N, H, W, ...)` of a window moved `right` and `down` by whole pixels; edges are repeated."""
    import numpy as np

    pad = max(abs(right), abs(down))
    padding = [(0, 0), (pad, pad), (pad, pad), *[(0, 0)] * (images.ndim - 3)]
    top, start, (height, width) = pad + down, pad + right, images.shape[1:3]
    return np.pad(images, padding, mode="edge")[:, top : top + height, start : start + width]
