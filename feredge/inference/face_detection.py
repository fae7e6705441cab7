"""Face detection, and square crops of the detected faces."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from feredge.errors import ArtifactError, PictureError
from feredge.inference.face import PixelBox
from feredge.inference.pictures import (
    Box,
    Color,
    Images,
    Picture,
    convert_color,
    opencv,
    pixels_and_order,
    to_box,
    to_pixels,
)

Detector: TypeAlias = Callable[[Images, Color], list[PixelBox]]
"""Maps `uint8 (h, w, 1 | 3 | 4)` pixels and their channel order to boxes `(x, y, width, height)`."""

MAX_CROP_RATIO = 4
"""Maximum side of a crop over the picture's longer side; a larger box is an error."""


def detect(picture: Picture, *, detector: Detector | None = None, color: Color = "bgr") -> list[PixelBox]:
    """Detect the faces in a picture; return boxes `(x, y, width, height)` clipped to it, largest first.

    Args:
        picture: array, path or bytes, as `InputContract.to_tensor` accepts them.
        detector: `Haar()` by default, or a `YuNet(path)`, or any function of this type.
        color: channel order of a colour array.

    Raises:
        PictureError: an invalid picture.
    """
    pixels, color = pixels_and_order(picture, color)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    boxes = [box for raw in (detector or _default_haar)(pixels, color) if (box := _clip_box(raw, pixels))]
    return sorted(boxes, key=lambda box: (-box[2] * box[3], box))


def crop_square(picture: Picture, box: Box, *, margin: float = 0.0) -> Images:
    """Crop the square around a box: `uint8 (side, side)` or `(side, side, C)`, like the picture.

    The square has the box's centre, and its side is the box's longer side times `1 + margin`. Outside the picture
    border pixels are replicated. The result is a view of the picture if the square lies inside.

    With `margin` 0 a square around a Haar box frames the face as FER2013 does: on 1,226 of its faces the cascade's
    box was in the median 0.975 times as wide as the picture, and its centre within 0.01 of the picture's centre.

    Raises:
        PictureError: an invalid picture or box; a box wholly outside the picture, or longer than MAX_CROP_RATIO times
            the picture's longer side; a margin outside -0.5 to 4.
    """
    pixels = to_pixels(picture)
    x, y, width, height = to_box(box)
    rows, columns = pixels.shape[:2]
    if x >= columns or y >= rows or x + width <= 0 or y + height <= 0:
        raise PictureError(f"expected a box that overlaps the {columns}x{rows} picture, found {(x, y, width, height)}")
    if not -0.5 <= margin <= 4:
        raise PictureError(f"expected a margin from -0.5 to 4 (0.1 is 10 %), found {margin}")
    side = max(1, round(max(width, height) * (1 + margin)))
    if side > MAX_CROP_RATIO * max(rows, columns):
        raise PictureError(f"expected a box about as large as the {columns}x{rows} picture, found {width}x{height}")
    x_start, y_start = x + (width - side) // 2, y + (height - side) // 2
    if x_start >= 0 and y_start >= 0 and x_start + side <= columns and y_start + side <= rows:
        return pixels[y_start : y_start + side, x_start : x_start + side]
    across = np.clip(np.arange(x_start, x_start + side), 0, columns - 1)
    down = np.clip(np.arange(y_start, y_start + side), 0, rows - 1)
    return pixels[down][:, across]


class _ThreadLocal(threading.local):
    """Thread-local storage that can be pickled, and is empty in the receiving process."""

    def __reduce__(self) -> Any:
        return _ThreadLocal, ()


class Haar:
    """OpenCV's frontal-face Haar cascade (Viola and Jones, 2001), as opencv-python ships it. Thread-safe.

    Args:
        min_size: side of the smallest detected face, in pixels of the downscaled picture.
        min_neighbors: overlapping candidates required for a detection; fewer detect more faces, and more false ones.
        max_side: pictures with a longer side are downscaled to this many pixels before detection.
    """

    def __init__(self, *, min_size: int = 40, min_neighbors: int = 5, max_side: int = 800) -> None:
        self.min_size = min_size
        self.min_neighbors = min_neighbors
        self.max_side = max_side
        self._thread_local = _ThreadLocal()  # a cascade object is not thread-safe

    def __repr__(self) -> str:
        return f"Haar(min_size={self.min_size}, min_neighbors={self.min_neighbors}, max_side={self.max_side})"

    def __call__(self, pixels: Images, color: Color) -> list[PixelBox]:
        """Return boxes in `uint8 (h, w, 1 | 3 | 4)` pixels."""
        cascade = getattr(self._thread_local, "cascade", None)
        if cascade is None:
            cascade = self._thread_local.cascade = _open_cascade()
        small, scale = _shrink(convert_color(pixels, 1, color), self.max_side)
        if min(small.shape[:2]) < self.min_size:
            return []
        boxes = cascade.detectMultiScale(
            small, scaleFactor=1.1, minNeighbors=self.min_neighbors, minSize=(self.min_size, self.min_size)
        )
        return [to_box(np.asarray(box) * scale) for box in boxes]


class YuNet:
    """A YuNet model of the OpenCV model zoo in `cv2.FaceDetectorYN` (Wu, Peng and Yu, 2023). feredge ships none.

    Args:
        path: the `.onnx` file.
        confidence: minimum score of a face, 0 to 1.
        max_side: pictures with a longer side are downscaled to this many pixels before detection.

    Raises:
        ArtifactError: OpenCV cannot load or run the file.
    """

    def __init__(self, path: str | os.PathLike[str], *, confidence: float = 0.7, max_side: int = 640) -> None:
        self.path = os.fspath(path)
        self.confidence = confidence
        self.max_side = max_side
        self._thread_local = _ThreadLocal()
        self(np.zeros((320, 320, 3), np.uint8), "bgr")  # files of other networks fail only when run

    def __repr__(self) -> str:
        return f"YuNet({self.path!r}, confidence={self.confidence}, max_side={self.max_side})"

    def __call__(self, pixels: Images, color: Color) -> list[PixelBox]:
        """Return boxes in `uint8 (h, w, 1 | 3 | 4)` pixels."""
        cv2 = opencv()
        detector = getattr(self._thread_local, "detector", None) or self._open()
        rgb, scale = _shrink(convert_color(pixels, 3, color), self.max_side)
        detector.setInputSize((rgb.shape[1], rgb.shape[0]))
        try:
            _, detections = detector.detect(np.ascontiguousarray(rgb[:, :, ::-1]))
        except cv2.error as error:
            raise ArtifactError(f"{self.path}: expected a YuNet file, OpenCV failed in it ({error.err})") from error
        boxes = [] if detections is None else [row[:4] * scale for row in detections]
        return [to_box(box) for box in boxes if np.isfinite(box).all() and box[2] >= 1 and box[3] >= 1]

    def _open(self) -> Any:
        cv2 = opencv()
        try:
            detector = cv2.FaceDetectorYN.create(self.path, "", (320, 320), self.confidence)
        except (cv2.error, SystemError) as error:
            raise ArtifactError(f"{self.path}: expected a YuNet file that OpenCV can load") from error
        self._thread_local.detector = detector
        return detector


def open_detector(detector: Detector | str | os.PathLike[str] | None) -> Detector:
    """Return a detector: the shared `Haar()` for None, a `YuNet` for a path, or `detector` itself."""
    if detector is None:
        return _default_haar
    return YuNet(detector) if isinstance(detector, (str, os.PathLike)) else detector


def _open_cascade() -> Any:
    cv2 = opencv()
    path = str(Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml")
    cascade = cv2.CascadeClassifier(path)
    if cascade.empty():
        raise ArtifactError(f"{path}: expected the cascade that opencv-python below 5 ships, found none")
    return cascade


def _shrink(pixels: Images, max_side: int) -> tuple[Images, float]:
    """Downscale to at most `max_side` pixels a side; return contiguous pixels and the factor back to full size."""
    cv2 = opencv()
    scale = max(pixels.shape[:2]) / max_side
    if scale <= 1:
        return np.ascontiguousarray(pixels), 1.0
    size = max(1, round(pixels.shape[1] / scale)), max(1, round(pixels.shape[0] / scale))
    small = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA)
    return small.reshape(size[1], size[0], pixels.shape[2]), scale


def _clip_box(box: PixelBox, pixels: Images) -> PixelBox | None:
    x, y, width, height = box
    x_start, y_start = max(x, 0), max(y, 0)
    width, height = min(x + width, pixels.shape[1]) - x_start, min(y + height, pixels.shape[0]) - y_start
    return (x_start, y_start, width, height) if width > 0 and height > 0 else None


_default_haar = Haar()
