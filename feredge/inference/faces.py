"""Finding faces in a picture, and cutting them out as squares."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from feredge.errors import ArtifactError, PictureError
from feredge.inference.pictures import Box, Color, Images, Picture, as_box, as_pixels, in_order, opencv, recolor

WholeBox: TypeAlias = tuple[int, int, int, int]
Detector: TypeAlias = Callable[[Images, Color], list[WholeBox]]
"""Takes `uint8 (h, w, 1 | 3 | 4)` pixels and their colour order, returns boxes `(x, y, width, height)`."""

LARGEST_CROP = 4
"""A crop's side is at most this many times the picture's longer side; a larger box is a mistake."""


def detect(picture: Picture, *, detector: Detector | None = None, color: Color = "bgr") -> list[WholeBox]:
    """Return the faces in a picture as boxes `(x, y, width, height)` inside it, largest first; none is `[]`.

    Args:
        picture: array, path or bytes, as `InputContract.to_tensor` takes them.
        detector: what looks for faces: `Haar()` unless given, or a `YuNet(path)`, or a function of your own.
        color: channel order of a colour array.

    Raises:
        PictureError: not a picture.
    """
    pixels, color = in_order(picture, color)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    boxes = [box for found in (detector or _haar)(pixels, color) if (box := _inside(found, pixels))]
    return sorted(boxes, key=lambda box: (-box[2] * box[3], box))


def crop(picture: Picture, box: Box, *, margin: float = 0.0) -> Images:
    """Return the square around a box: `uint8 (side, side)` or `(side, side, C)`, as the picture is.

    The square shares the box's centre, and its side is the box's longer side times `1 + margin`. What lies outside
    the picture repeats the picture's border. The result is a view of the picture where it can be.

    With `margin` 0 a square around a Haar box frames the face as FER2013 does: on 1,226 of its faces the cascade's
    box was in the median 0.975 times as wide as the picture, and its centre within 0.01 of the picture's centre.

    Raises:
        PictureError: not a picture; a box that is none, that lies wholly outside the picture, or that is more
            than LARGEST_CROP times as long as the picture's longer side; a margin outside -0.5 to 4.
    """
    pixels = as_pixels(picture)
    x, y, width, height = as_box(box)
    rows, columns = pixels.shape[:2]
    if x >= columns or y >= rows or x + width <= 0 or y + height <= 0:
        raise PictureError(f"expected a box that meets the {columns}x{rows} picture, found {(x, y, width, height)}")
    if not -0.5 <= margin <= 4:
        raise PictureError(f"expected a margin from -0.5 to 4 (0.1 is 10 %), found {margin}")
    side = max(1, round(max(width, height) * (1 + margin)))
    if side > LARGEST_CROP * max(rows, columns):
        raise PictureError(f"expected a box about as large as the {columns}x{rows} picture, found {width}x{height}")
    left, top = x + (width - side) // 2, y + (height - side) // 2
    if left >= 0 and top >= 0 and left + side <= columns and top + side <= rows:
        return pixels[top : top + side, left : left + side]
    across = np.clip(np.arange(left, left + side), 0, columns - 1)
    down = np.clip(np.arange(top, top + side), 0, rows - 1)
    return pixels[down][:, across]


class _PerThread(threading.local):
    """Starts empty in every thread, and in every process it is sent to."""

    def __reduce__(self) -> Any:
        return _PerThread, ()


class Haar:
    """The frontal-face cascade that opencv-python ships (Viola and Jones, 2001). Safe to share between threads.

    Args:
        smallest: side of the smallest face looked for, in pixels of the shrunk picture.
        neighbours: overlapping hits that make a face; fewer finds more faces and more that are none.
        longest: larger pictures are shrunk to this many pixels along the longer side before looking.
    """

    def __init__(self, *, smallest: int = 40, neighbours: int = 5, longest: int = 800) -> None:
        self.smallest = smallest
        self.neighbours = neighbours
        self.longest = longest
        self._own = _PerThread()  # a cascade keeps its working images, so two threads cannot share one

    def __repr__(self) -> str:
        return f"Haar(smallest={self.smallest}, neighbours={self.neighbours}, longest={self.longest})"

    def __call__(self, pixels: Images, color: Color) -> list[WholeBox]:
        """Return boxes in `uint8 (h, w, 1 | 3 | 4)` pixels."""
        cascade = getattr(self._own, "cascade", None)
        if cascade is None:
            cascade = self._own.cascade = _open_cascade()
        small, scale = _shrink(recolor(pixels, 1, color), self.longest)
        if min(small.shape[:2]) < self.smallest:
            return []
        found = cascade.detectMultiScale(
            small, scaleFactor=1.1, minNeighbors=self.neighbours, minSize=(self.smallest, self.smallest)
        )
        return [as_box(np.asarray(box) * scale) for box in found]


class YuNet:
    """A YuNet file of the OpenCV model zoo, in `cv2.FaceDetectorYN` (Wu, Peng and Yu, 2023). feredge ships none.

    Args:
        path: the `.onnx` file.
        confidence: the least score of a face, 0 to 1.
        longest: larger pictures are shrunk to this many pixels along the longer side before looking.

    Raises:
        ArtifactError: OpenCV cannot load the file, or fails in it.
    """

    def __init__(self, path: str | os.PathLike[str], *, confidence: float = 0.7, longest: int = 640) -> None:
        self.path = os.fspath(path)
        self.confidence = confidence
        self.longest = longest
        self._own = _PerThread()
        self(np.zeros((320, 320, 3), np.uint8), "bgr")  # another network's file loads, and fails at its first picture

    def __repr__(self) -> str:
        return f"YuNet({self.path!r}, confidence={self.confidence}, longest={self.longest})"

    def __call__(self, pixels: Images, color: Color) -> list[WholeBox]:
        """Return boxes in `uint8 (h, w, 1 | 3 | 4)` pixels."""
        cv2 = opencv()
        detector = getattr(self._own, "detector", None) or self._open()
        rgb, scale = _shrink(recolor(pixels, 3, color), self.longest)
        detector.setInputSize((rgb.shape[1], rgb.shape[0]))
        try:
            _, found = detector.detect(np.ascontiguousarray(rgb[:, :, ::-1]))
        except cv2.error as error:
            raise ArtifactError(f"{self.path}: expected a YuNet file, OpenCV failed in it ({error.err})") from error
        boxes = [] if found is None else [row[:4] * scale for row in found]
        return [as_box(box) for box in boxes if np.isfinite(box).all() and box[2] >= 1 and box[3] >= 1]

    def _open(self) -> Any:
        cv2 = opencv()
        try:
            detector = cv2.FaceDetectorYN.create(self.path, "", (320, 320), self.confidence)
        except (cv2.error, SystemError) as error:
            raise ArtifactError(f"{self.path}: expected a YuNet file that OpenCV can load") from error
        self._own.detector = detector
        return detector


def open_detector(detector: Detector | str | os.PathLike[str] | None) -> Detector:
    """Return a detector: the shared `Haar()` for None, a `YuNet` for the path of its file, else what was given."""
    if detector is None:
        return _haar
    return YuNet(detector) if isinstance(detector, (str, os.PathLike)) else detector


def _open_cascade() -> Any:
    cv2 = opencv()
    path = str(Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml")
    cascade = cv2.CascadeClassifier(path)
    if cascade.empty():
        raise ArtifactError(f"{path}: expected the cascade that opencv-python below 5 ships, found none")
    return cascade


def _shrink(pixels: Images, longest: int) -> tuple[Images, float]:
    """Return contiguous pixels of at most `longest` a side, and the factor that leads back."""
    cv2 = opencv()
    scale = max(pixels.shape[:2]) / longest
    if scale <= 1:
        return np.ascontiguousarray(pixels), 1.0
    size = max(1, round(pixels.shape[1] / scale)), max(1, round(pixels.shape[0] / scale))
    small = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA)
    return small.reshape(size[1], size[0], pixels.shape[2]), scale


def _inside(box: WholeBox, pixels: Images) -> WholeBox | None:
    x, y, width, height = box
    left, top = max(x, 0), max(y, 0)
    width, height = min(x + width, pixels.shape[1]) - left, min(y + height, pixels.shape[0]) - top
    return (left, top, width, height) if width > 0 and height > 0 else None


_haar = Haar()
