"""The input contract of every artifact, and the one function that turns a picture into that input.

Every artifact takes raw gray pixels, `uint8 (N, H, W, 1)` in 0..255, and returns class probabilities,
`float32 (N, classes)`. Scaling lives inside the file. Training, calibration, benchmark and Predictor all
come through `to_tensor`, so no two of them can disagree about colour order, size or scale.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError, PictureError

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's classes in the order of its labels 0 to 6."""

Images: TypeAlias = NDArray[np.uint8]
Picture: TypeAlias = "NDArray[np.uint8] | str | os.PathLike[str] | bytes"
Box: TypeAlias = Sequence[int]
Color: TypeAlias = Literal["bgr", "rgb"]


@dataclass(frozen=True)
class InputContract:
    """What a network takes: `channels` is 1 (gray) for everything trained here, 3 (RGB) for a foreign colour net."""

    height: int = 48
    width: int = 48
    channels: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(H, W, C)` of one image."""
        return self.height, self.width, self.channels

    def to_json(self) -> dict[str, Any]:
        """Return the contract as it stands in manifests and inside files."""
        return {**asdict(self), "dtype": "uint8", "range": [0, 255], "layout": "NHWC"}

    @classmethod
    def from_json(cls, value: Any) -> InputContract:
        """Read what `to_json` wrote; ArtifactError when it is something else."""
        try:
            contract = cls(int(value["height"]), int(value["width"]), int(value["channels"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"expected an input contract, found {value!r}") from error
        if contract.to_json() != dict(value) or contract.channels not in (1, 3) or min(contract.shape) < 1:
            raise ArtifactError(f"expected a uint8 NHWC input contract, found {value!r}")
        return contract

    def to_tensor(self, picture: Picture, *, box: Box | None = None, color: Color = "bgr") -> Images:
        """Return `picture`, or the part of it inside `box`, as this network's `uint8 (H, W, C)`.

        Args:
            picture: `uint8` array `(h, w)`, `(h, w, 1)` gray, `(h, w, 3)` or `(h, w, 4)` with alpha last;
                or a path, or the bytes, of any picture file that OpenCV reads.
            box: `(x, y, width, height)` in pixels, wholly inside the picture.
            color: channel order of a colour array; files are always read right.

        Raises:
            PictureError: empty, of another dtype or shape, unreadable, or a box outside the picture.
        """
        pixels = picture if isinstance(picture, np.ndarray) else read_picture(picture)
        _check(pixels)
        if box is not None:
            pixels = _crop(pixels, box)
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        pixels = _resize(_recolor(pixels, self.channels, color), self.height, self.width)
        return np.ascontiguousarray(pixels)

    def to_batch(self, pictures: Iterable[Picture], *, color: Color = "bgr") -> Images:
        """Return pictures of any sizes as one `uint8 (N, H, W, C)` batch, in their order."""
        batch = [self.to_tensor(picture, color=color) for picture in pictures]
        return np.stack(batch) if batch else np.empty((0, *self.shape), np.uint8)

    def check_batch(self, batch: Images) -> None:
        """Raise PictureError unless `batch` is `uint8 (N, H, W, C)` as this network takes it."""
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != self.shape:
            raise PictureError(f"expected uint8 (N, {self._text}), found {batch.dtype} {batch.shape}")

    @property
    def _text(self) -> str:
        return ", ".join(map(str, self.shape))


def read_picture(source: str | os.PathLike[str] | bytes) -> Images:
    """Decode a picture file, or its bytes, to `uint8 (h, w)`, `(h, w, 3)` BGR or `(h, w, 4)` BGRA.

    Raises:
        PictureError: missing, or not a picture that OpenCV can decode. 16-bit pictures are scaled to 8.
    """
    import cv2  # late: ready crops need no OpenCV, whose wheel wants system libraries that bare systems lack

    name = "the given bytes" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise PictureError(f"{name}: cannot be read ({error.strerror})") from error
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error as error:
        raise PictureError(f"{name}: expected a picture, OpenCV refused it ({error.err})") from error
    if pixels is None:
        raise PictureError(f"{name}: expected a picture, found {len(data)} bytes that OpenCV cannot decode")
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return pixels  # type: ignore[return-value]


def _check(pixels: NDArray[Any]) -> None:
    if pixels.dtype != np.uint8:
        raise PictureError(f"expected uint8 pixels in 0..255, found {pixels.dtype}")
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        raise PictureError(f"expected a picture (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), found {pixels.shape}")
    if pixels.size == 0:
        raise PictureError(f"expected a picture, found an empty array {pixels.shape}")


def _crop(pixels: Images, box: Box) -> Images:
    x, y, width, height = (int(value) for value in box)
    rows, columns = pixels.shape[:2]
    if width < 1 or height < 1 or x < 0 or y < 0 or x + width > columns or y + height > rows:
        raise PictureError(f"expected a box inside the {columns}x{rows} picture, found {(x, y, width, height)}")
    return pixels[y : y + height, x : x + width]


def _recolor(pixels: Images, channels: int, color: Color) -> Images:
    found = pixels.shape[2]
    if found == channels and (found == 1 or color == "rgb"):
        return pixels
    import cv2

    order = "GRAY" if found == 1 else color.upper() + ("A" if found == 4 else "")
    wanted = "GRAY" if channels == 1 else "RGB"
    converted = cv2.cvtColor(np.ascontiguousarray(pixels), getattr(cv2, f"COLOR_{order}2{wanted}"))
    return converted if channels == 3 else converted[:, :, None]  # type: ignore[return-value]


def _resize(pixels: Images, height: int, width: int) -> Images:
    if pixels.shape[:2] == (height, width):
        return pixels
    import cv2

    # Averaging when shrinking, because bilinear sampling drops pixels and aliases; bilinear when enlarging.
    shrinks = pixels.shape[0] >= height and pixels.shape[1] >= width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=how)
    return resized.reshape(height, width, pixels.shape[2])  # type: ignore[return-value]
