"""Frames of a Raspberry Pi's camera and of a pipe, behind the interface of `cv2.VideoCapture`."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, Protocol

import numpy as np

from feredge.errors import PictureError, one_line
from feredge.inference.picture_formats import YUV_CONVERSIONS, yuv_to_bgr
from feredge.inference.pictures import MAX_PIXELS, Images, convert_color, opencv, read_picture

PIPE_SOURCE = "-"
PICAMERA_SOURCE = "picamera2"
PICAMERA_SIZE = (640, 480)
PICAMERA_FRAME_RATE = 30.0  # of its video configuration
RAW_FORMATS = {"yuv420": 1.5, "nv12": 1.5, "gray": 1, "bgr": 3, "rgb": 3}
"""Bytes of a pixel, by the format of raw frames."""
MAX_JPEG_BYTES = 64 << 20
READ_BYTES = 1 << 16
JPEG_START, JPEG_END, JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""A JPEG marker that is neither stuffing nor a restart."""
H264_START = b"\0\0\0\1"


class Capture(Protocol):
    """What `Video` calls of a `cv2.VideoCapture`."""

    def isOpened(self) -> bool:
        """Return whether frames can be read."""

    def read(self) -> tuple[bool, Any]:
        """Return True and the next frame, `uint8 (h, w, 3)` BGR; or False."""

    def get(self, prop: int) -> float:
        """Return a property, 0 if it is unknown."""

    def release(self) -> None:
        """Close it."""


@dataclass(frozen=True)
class RawFormat:
    """The layout of raw frames in a pipe.

    Attributes:
        width, height: in pixels.
        name: one of RAW_FORMATS.

    Raises:
        PictureError: a side that is not positive, or odd where there are two rows to a chroma sample.
    """

    width: int
    height: int
    name: str = "yuv420"

    def __post_init__(self) -> None:
        """Check the values."""
        layout = f"{self.width}x{self.height}:{self.name}"
        if self.name not in RAW_FORMATS:
            raise PictureError(f"expected raw frames of {', '.join(RAW_FORMATS)}, found {layout}")
        if min(self.width, self.height) < 1 or self.width * self.height > MAX_PIXELS:
            raise PictureError(f"expected raw frames of 1 to {MAX_PIXELS:,} pixels, found {layout}")
        if self.name in YUV_CONVERSIONS and (self.width % 2 or self.height % 2):
            raise PictureError(f"expected {self.name} frames of even sides, found {layout}")

    @classmethod
    def parse(cls, text: str) -> RawFormat:
        """Read `640x480`, or `640x480:nv12`; PictureError for anything else."""
        match = re.fullmatch(r"(\d{1,6})x(\d{1,6})(?::(\w+))?", text)
        if match is None:
            raise PictureError(f"expected raw frames as WIDTHxHEIGHT or WIDTHxHEIGHT:FORMAT, found {text!r:.40}")
        return cls(int(match[1]), int(match[2]), *filter(None, [match[3]]))

    @property
    def size_bytes(self) -> int:
        """Bytes of one frame."""
        return int(self.width * self.height * RAW_FORMATS[self.name])

    def to_bgr(self, data: bytes) -> Images:
        """Return a frame as `uint8 (h, w, 3)` BGR."""
        pixels = np.frombuffer(data, np.uint8)
        if self.name in YUV_CONVERSIONS:
            return yuv_to_bgr(pixels.reshape(-1, self.width), self.name, opencv())
        pixels = pixels.reshape(self.height, self.width, -1)
        if self.name == "rgb":
            return np.ascontiguousarray(pixels[:, :, ::-1])
        return np.repeat(pixels, 3 // pixels.shape[2], axis=2)


class PipeCapture:
    """Frames from a pipe: JPEG pictures one after the other, or raw frames.

    Args:
        pipe: opened for reading bytes.
        raw: the layout of raw frames; without it they are JPEG.

    Attributes:
        live: whether it is a pipe, not a redirected file.
        ended: whether a read has come to its end.

    Raises:
        PictureError: the pipe does not begin with a frame.
    """

    def __init__(self, pipe: BufferedReader, raw: RawFormat | None = None) -> None:
        self.ended, self.live = False, not stat.S_ISREG(os.fstat(pipe.fileno()).st_mode)
        start = pipe.peek(len(H264_START))[: len(H264_START)]
        self._frames: Iterator[Images | None] = (
            _raw_frames(pipe, raw) if raw else map(_decode_jpeg, _jpeg_pictures(pipe))
        )
        self._first: Images | None = next(self._frames, None)
        if self._first is None:
            expected = f"raw frames of {raw.size_bytes:,} bytes" if raw else "JPEG frames, or --raw for raw ones"
            actual = "H.264; rpicam-vid --codec mjpeg writes JPEG" if start == H264_START else "none"
            raise PictureError(f"the standard input: expected {expected}, found {actual}")

    def isOpened(self) -> bool:
        """Return True."""
        return True

    def read(self) -> tuple[bool, Images | None]:
        """Return whether there is a next frame, and the frame, `uint8 (h, w, 3)` BGR."""
        pixels, self._first = self._first, None
        if pixels is None:
            try:
                pixels = next(self._frames)
            except StopIteration:
                self.ended = True
        return pixels is not None, pixels

    def get(self, prop: int) -> float:
        """Return 0: a pipe has no properties."""
        del prop
        return 0.0

    def release(self) -> None:
        """Leave the pipe open: it belongs to the caller."""


class PicameraCapture:
    """Frames of a Raspberry Pi's camera by the package picamera2.

    Attributes:
        live, ended: True: a frame that does not come is the end.

    Raises:
        PictureError: the package or the camera is missing, or another program has the camera.
    """

    live = ended = True

    def __init__(self, number: int = 0) -> None:
        try:
            from picamera2 import Picamera2  # type: ignore[import-not-found]
        except ImportError as error:
            raise PictureError(
                "expected the package picamera2, found none; Raspberry Pi OS has it as python3-picamera2, for virtual "
                "environments with --system-site-packages"
            ) from error
        try:
            self._camera = Picamera2(number)
            main = {"size": PICAMERA_SIZE, "format": "RGB888"}  # libcamera's name of BGR in memory
            self._camera.configure(self._camera.create_video_configuration(main=main))
            self._camera.start()
        except (IndexError, RuntimeError, OSError) as error:
            raise PictureError(
                f"{PICAMERA_SOURCE}: expected a camera, found none that is free ({one_line(error)})"
            ) from error

    def isOpened(self) -> bool:
        """Return True."""
        return True

    def read(self) -> tuple[bool, Images | None]:
        """Wait for the next frame, `uint8 (h, w, 3)` BGR."""
        try:
            return True, self._camera.capture_array("main")
        except (RuntimeError, OSError):
            return False, None

    def get(self, prop: int) -> float:
        """Return the frame rate, and 0 for other properties."""
        return PICAMERA_FRAME_RATE if prop == opencv().CAP_PROP_FPS else 0.0

    def release(self) -> None:
        """Stop the camera, for other programs."""
        self._camera.stop()
        self._camera.close()


def _raw_frames(pipe: BufferedReader, raw: RawFormat) -> Iterator[Images]:
    """Give raw frames up to the last whole one."""
    while len(data := pipe.read(raw.size_bytes)) == raw.size_bytes:
        yield raw.to_bgr(data)


def _decode_jpeg(data: bytes) -> Images | None:
    """Return a JPEG picture as `uint8 (h, w, 3)` BGR; None if it is damaged."""
    try:
        pixels = read_picture(data)
    except PictureError:
        return None
    return convert_color(pixels[:, :, None], 3) if pixels.ndim == 2 else pixels


def _jpeg_pictures(pipe: BufferedReader) -> Iterator[bytes]:
    """Give the JPEG pictures of a pipe, which begins with one; what is between them is skipped."""
    data = bytearray(pipe.read(len(JPEG_START)))
    if data != JPEG_START:
        return
    while True:
        start = data.find(JPEG_START)
        del data[: start if start >= 0 else max(0, len(data) - 1)]
        end = _jpeg_end(data) if start >= 0 else None
        if end is not None:
            yield bytes(data[:end])
            del data[:end]
        elif len(data) > MAX_JPEG_BYTES or not (more := pipe.read1(READ_BYTES)):
            return
        else:
            data += more


def _jpeg_end(data: bytearray) -> int | None:
    """Return the length of the JPEG picture at the start of `data`, also of a damaged one; None if it goes on."""
    at = len(JPEG_START)
    while at + 4 <= len(data) or data[at : at + 2] == JPEG_END:
        if data[at : at + 2] == JPEG_END or data[at] != 0xFF:
            return at + 2
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker == JPEG_SCAN:
            match = MARKER_AFTER_SCAN.search(data, at)
            if match is None:
                return None
            at = match.start()
    return None
