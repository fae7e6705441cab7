"""Outputs of a tracked video: a csv table, an annotated video file, a window."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feredge import files
from feredge.errors import PictureError
from feredge.inference.pictures import Images, opencv
from feredge.label.draw import annotate
from feredge.label.tracker import TrackedFace

VIDEO_CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v"}
MAX_REPEAT_SECONDS = 600.0  # for which one frame is repeated


@dataclass(frozen=True)
class Frame:
    """A frame of a video, and the faces in it.

    Attributes:
        index: frame number, from 0.
        time: presentation time in seconds from the start.
        pixels: `uint8 (h, w, 3)` BGR.
        faces: tracked faces; those of the last analyzed frame if this frame was not analyzed.
        analyzed: whether this frame was run through the network.
    """

    index: int
    time: float
    pixels: Images
    faces: tuple[TrackedFace, ...]
    analyzed: bool


FrameSink = Callable[[Frame], Any]
"""Called with each frame; False stops the tracking."""


@contextmanager
def csv_sink(path: Path, classes: tuple[str, ...]) -> Iterator[FrameSink]:
    """Write a csv table, one row per face and analyzed frame.

    Raises:
        PictureError: another suffix.
    """
    if path.suffix != ".csv":
        raise PictureError(f"{path}: expected a table that ends in .csv")
    with files.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        fixed = ["frame", "time", "face", "label", "confidence", "x", "y", "width", "height"]
        writer.writerow([*fixed, *(f"p_{name}" for name in classes)])

        def add(frame: Frame) -> None:
            for tracked in frame.faces if frame.analyzed else ():
                face = tracked.face
                metadata = [frame.index, f"{frame.time:.3f}", tracked.number, face.label, f"{face.confidence:.6f}"]
                writer.writerow([*metadata, *(face.box or [""] * 4), *(f"{score:.6f}" for score in face.scores)])

        yield add


@contextmanager
def video_sink(path: Path, frame_rate: float) -> Iterator[FrameSink]:
    """Write an annotated video at a constant frame rate.

    Raises:
        PictureError: another suffix, a format that OpenCV cannot write, or a file that cannot be read back.
    """
    if path.suffix not in VIDEO_CODECS:
        raise PictureError(f"{path}: expected a video that ends in {', '.join(VIDEO_CODECS)}")
    with files.replacing(path) as temporary:
        writer = _ConstantRateWriter(path, temporary, frame_rate)
        try:
            yield writer.add
        finally:
            writer.close()
        # OpenCV does not report a full disk, neither on writing nor at the end.
        if (readable := _count_frames(temporary)) != writer.written or not readable:
            raise PictureError(
                f"{path}: expected a video of {writer.written} frames, {readable} can be read back; is the disk full?"
            )


class _ConstantRateWriter:
    """Writes a video of a constant frame rate; frames are repeated or dropped to keep their presentation times.

    Attributes:
        written: frames in the file. A frame is written when the time of the next one is known.
    """

    def __init__(self, path: Path, temporary: Path, frame_rate: float) -> None:
        self.written = 0
        self._path, self._temporary, self._frame_rate = path, temporary, frame_rate
        self._writer: Any = None
        self._pending: Any = None
        self._offset = 0.0  # seconds between the source's times and the file's
        self._size = (0, 0)

    def add(self, frame: Frame) -> None:
        pixels = annotate(frame.pixels, [tracked.face for tracked in frame.faces])
        if self._writer is None:
            self._open(pixels.shape[1], pixels.shape[0])
            self._offset = frame.time
        if (pixels.shape[1], pixels.shape[0]) != self._size:  # OpenCV would drop it
            pixels = opencv().resize(pixels, self._size, interpolation=opencv().INTER_AREA)
        position = round((frame.time - self._offset) * self._frame_rate)
        if position - self.written > MAX_REPEAT_SECONDS * self._frame_rate:  # the source's clock has jumped
            self._offset = frame.time - (self.written + 1) / self._frame_rate
            position = self.written + 1
        self._write_until(position)
        self._pending = pixels

    def _open(self, width: int, height: int) -> None:
        cv2 = opencv()
        codec = cv2.VideoWriter.fourcc(*VIDEO_CODECS[self._path.suffix])
        self._size = width, height
        self._writer = cv2.VideoWriter(str(self._temporary), codec, self._frame_rate, self._size)
        if not self._writer.isOpened():
            raise PictureError(f"{self._path}: expected a video of {width}x{height}, OpenCV cannot write it")

    def _write_until(self, position: int) -> None:
        while self._pending is not None and self.written < position:
            self._writer.write(self._pending)
            self.written += 1

    def close(self) -> None:
        """Write the last frame, and close the file."""
        if self._writer is not None:
            self._write_until(self.written + 1)
            self._writer.release()


def _count_frames(path: Path) -> int:
    """Return how many frames of a video file can be read."""
    capture = opencv().VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


@contextmanager
def window_sink(title: str) -> Iterator[FrameSink]:
    """Show the annotated frames in a window; the key q stops the tracking.

    Raises:
        PictureError: no display.
    """
    cv2 = opencv()
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise PictureError("expected a screen to show a window on, found none")  # Qt would abort the process

    def add(frame: Frame) -> bool:
        cv2.imshow(title, annotate(frame.pixels, [tracked.face for tracked in frame.faces]))
        return bool(cv2.waitKey(1) & 0xFF != ord("q"))

    try:
        yield add
    finally:
        cv2.destroyAllWindows()
