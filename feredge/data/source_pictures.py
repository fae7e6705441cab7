"""Size and colour of a source's pictures, estimated on a sample of them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feredge.errors import PictureError
from feredge.inference.contract import Images
from feredge.inference.pictures import read_picture

SAMPLED_PICTURES = 64
COLOR_DIFFERENCE = 4.0
"""Mean difference of a picture's largest and smallest channel from which on it has colour: JPEG stores the chroma of a
gray picture with an error of 1 or 2."""


@dataclass(frozen=True)
class SourcePictures:
    """The pictures of a source.

    Attributes:
        color_share: fraction of the pictures that have colour.
        height, width: medians, in pixels.
    """

    color_share: float
    height: int
    width: int

    def __str__(self) -> str:
        """Return the properties as a phrase."""
        colors = {0.0: "gray", 1.0: "in colour"}.get(self.color_share, f"{self.color_share:.0%} of them in colour")
        return f"{self.width} x {self.height} pixels, {colors}"


def color_note(pictures: SourcePictures | None, channels: int) -> str:
    """Return a warning about pictures that do not suit a network of 1 (gray) or 3 (RGB) channels; empty if they do."""
    if pictures is None or bool(pictures.color_share) == (channels == 3):
        return ""
    if channels == 3:
        return "the pictures are gray and the network takes RGB; data.channels=1 would give a smaller network"
    return f"the network takes gray images, but the pictures are {pictures}; data.channels=3 would use their colour"


def sample_pictures(paths: Sequence[Path], workers: int) -> SourcePictures | None:
    """Return the properties of evenly spaced pictures among `paths`; None if none of them can be read."""
    indices = np.linspace(0, len(paths) - 1, min(len(paths), SAMPLED_PICTURES)).astype(int)
    with ThreadPoolExecutor(workers) as pool:
        pictures = [picture for picture in pool.map(_read, [paths[index] for index in indices]) if picture is not None]
    if not pictures:
        return None
    height, width = np.median([picture.shape[:2] for picture in pictures], axis=0)
    return SourcePictures(float(np.mean([has_color(picture) for picture in pictures])), round(height), round(width))


def has_color(picture: Images) -> bool:
    """Return whether the channels of `uint8 (h, w)` or `(h, w, 3)` differ by more than rounding."""
    if picture.ndim == 2:
        return False
    return float((picture.max(axis=2) - picture.min(axis=2)).mean()) >= COLOR_DIFFERENCE


def _read(path: Path) -> Images | None:
    try:
        return read_picture(path)
    except PictureError:
        return None
