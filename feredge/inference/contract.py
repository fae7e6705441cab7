"""The input contract of every artifact, and the preprocessing that turns a picture into that input.

Every artifact takes raw pixels in 0..255, gray `uint8 (N, H, W, 1)` or RGB `uint8 (N, H, W, 3)`, and returns class
probabilities, `float32 (N, classes)`. Scaling is part of the network. Training, calibration, benchmark and Predictor
all use `to_tensor`, so that they agree on channel order, size and scale.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from feredge.errors import ArtifactError, PictureError
from feredge.inference.pictures import (
    Box,
    Color,
    Images,
    Picture,
    convert_color,
    crop,
    pixels_and_order,
    read_picture,
    resize,
)

__all__ = ["CLASSES", "Box", "Color", "Images", "InputContract", "Picture", "read_picture"]

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's classes in the order of its labels 0 to 6."""


@dataclass(frozen=True)
class InputContract:
    """A network's input shape; `channels` is 1 for gray, 3 for RGB."""

    height: int = 48
    width: int = 48
    channels: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(H, W, C)` of one image."""
        return self.height, self.width, self.channels

    def to_json(self) -> dict[str, Any]:
        """Return the contract as stored in cards and manifests."""
        return {**asdict(self), "dtype": "uint8", "range": [0, 255], "layout": "NHWC"}

    @classmethod
    def from_json(cls, value: Any) -> InputContract:
        """Parse the result of `to_json`; ArtifactError for anything else."""
        try:
            contract = cls(int(value["height"]), int(value["width"]), int(value["channels"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ArtifactError(f"expected an input contract, found {value!r}") from error
        if contract.to_json() != dict(value) or contract.channels not in (1, 3) or min(contract.shape) < 1:
            raise ArtifactError(f"expected a uint8 NHWC input contract, found {value!r}")
        return contract

    def to_tensor(
        self, picture: Picture, *, box: Box | None = None, color: Color = "bgr", out: Images | None = None
    ) -> Images:
        """Convert `picture`, or its crop at `box`, to this network's `uint8 (H, W, C)`.

        Args:
            picture: `uint8` array `(h, w)`, `(h, w, 1)` gray, `(h, w, 3)` or `(h, w, 4)` with alpha last;
                or anything else that `feredge.inference.pictures.pixels_and_order` accepts: a path, bytes, a Pillow
                image.
            box: `(x, y, width, height)` in pixels, wholly inside the picture, in any form that `to_box` accepts.
            color: channel order of a colour array, or `yuv420`, `nv12` planes; ignored for files.
            out: contiguous array of this shape for the result, such as an image of a batch; a new one if not given.

        Raises:
            PictureError: empty, of another dtype or shape, unreadable, or a box outside the picture.
        """
        pixels, color = pixels_and_order(picture, color, gray=self.channels == 1)
        if box is not None:
            pixels = crop(pixels, box)
        if self.channels != 1 or pixels.ndim != 2 or color not in ("bgr", "rgb"):
            pixels = convert_color(pixels if pixels.ndim == 3 else pixels[:, :, None], self.channels, color)
        return np.ascontiguousarray(resize(pixels, self.height, self.width, out))

    def to_batch(self, pictures: Iterable[Picture], *, color: Color = "bgr") -> Images:
        """Convert pictures of any sizes to one `uint8 (N, H, W, C)` batch, in order."""
        pictures = list(pictures)
        batch = np.empty((len(pictures), *self.shape), np.uint8)
        for picture, tensor in zip(pictures, batch, strict=True):
            self.to_tensor(picture, color=color, out=tensor)
        return batch

    def check_batch(self, batch: Images) -> None:
        """Raise PictureError unless `batch` is this network's `uint8 (N, H, W, C)`."""
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != self.shape:
            raise PictureError(f"expected uint8 (N, {self._shape_text}), found {batch.dtype} {batch.shape}")

    @property
    def _shape_text(self) -> str:
        return ", ".join(map(str, self.shape))
