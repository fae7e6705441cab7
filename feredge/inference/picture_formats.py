"""Further picture formats: Pillow images, file objects, HEIC and AVIF, a camera's YUV planes."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import PictureError, one_line
from feredge.inference.netpbm import scale_to_bytes

PICTURE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "bmp", "gif", "webp", "tif", "tiff"),
        *("pgm", "ppm", "pbm", "pnm", "pam", "avif", "heic", "heif"),
    )
)
"""Suffixes, in lower case, by which pictures in folders are recognized. HEIC needs pillow-heif."""

HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis"))
MAX_ISO_BOXES = 1000  # per level of an ISO base media file

YUV_CONVERSIONS = {"yuv420": "COLOR_YUV2BGR_I420", "nv12": "COLOR_YUV2BGR_NV12"}
MIN_YUV_WIDTH = 160  # camera frames are larger, and face crops often smaller
NEUTRAL_CHROMA = (80.0, 176.0)  # range of the mean of chroma planes in ordinary light; 128 is gray
CHROMA_ROW_DIFFERENCE = 4.0  # maximum mean difference of adjacent rows: chroma is smooth


def read_picture_object(picture: Any, max_pixels: int) -> bytes | NDArray[np.uint8]:
    """Return a bytes-like object, file or Pillow image as file bytes, or as `uint8 (h, w)` or `(h, w, 3)` BGR.

    Args:
        picture: a Pillow image, `bytearray`, `memoryview`, `io.BytesIO` (read from its beginning) or another file
            opened for reading bytes (read from its position).
        max_pixels: limit of a Pillow image, which may not have been decoded yet.

    Raises:
        PictureError: another type, or a file that cannot be read.
    """
    if isinstance(picture, io.BytesIO):
        return picture.getvalue()
    if isinstance(picture, (bytearray, memoryview)):
        return bytes(picture)
    pillow = sys.modules.get("PIL.Image")  # the caller of a Pillow image has imported Pillow
    if pillow is not None and isinstance(picture, pillow.Image):
        if picture.size[0] * picture.size[1] > max_pixels:
            raise PictureError(f"expected at most {max_pixels:,} pixels, found {picture.size[0]} x {picture.size[1]}")
        return decode_pillow(picture)
    if not hasattr(picture, "read"):
        raise PictureError(f"expected an array, a path, bytes or a picture of Pillow, found {type(picture).__name__}")
    try:
        data = picture.read()
    except (OSError, ValueError) as error:
        raise PictureError(f"expected a file opened for reading, cannot be read ({error})") from error
    if not isinstance(data, bytes):
        raise PictureError(f"expected a file opened in binary mode, found one that returns {type(data).__name__}")
    return data


def decode_pillow(picture: Any) -> NDArray[np.uint8]:
    """Convert a `PIL.Image.Image` to `uint8 (h, w)` gray or `(h, w, 3)` BGR, with its EXIF orientation applied.

    Raises:
        PictureError: empty, damaged, or integers or floats without a defined range (modes I and F).
    """
    from PIL import ImageOps

    if 0 in picture.size:
        raise PictureError(f"expected a picture, found an empty one {picture.size}")
    with _pillow_errors():
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I;16"):
            return scale_to_bytes(np.asarray(picture).astype(np.uint16), 65535)
        if picture.mode in ("I", "F"):
            raise PictureError(
                f"expected a picture of 8 or 16 bits, found Pillow's mode {picture.mode}; scale it first"
            )
        if picture.mode in ("1", "L", "LA", "La"):
            return np.array(picture.convert("L"))
        return np.ascontiguousarray(np.asarray(picture.convert("RGB"))[:, :, ::-1])


@contextmanager
def _pillow_errors() -> Iterator[None]:
    """Raise PictureError for any exception: each decoder has its own for a damaged file (pillow-heif: EOFError)."""
    try:
        yield
    except PictureError:
        raise
    except Exception as error:
        raise PictureError(f"expected a whole picture, Pillow refused it ({one_line(error)})") from error


def is_heif(data: bytes) -> bool:
    """Return whether a file is HEIC, HEIF or AVIF, by its major brand."""
    return data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS


def heif_size(data: bytes) -> tuple[int, int]:
    """Return the largest `(width, height)` of the images in a HEIF or AVIF file; ValueError without one."""
    sizes = []
    for start, end in _iso_boxes(data, (b"meta", b"iprp", b"ipco", b"ispe"), 0, len(data)):
        if end - start >= 12:
            sizes.append(struct.unpack_from(">II", data, start + 4))
    if not sizes:
        raise ValueError("no image size")
    return max(sizes, key=lambda size: size[0] * size[1])


def _iso_boxes(data: bytes, path: tuple[bytes, ...], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield `(start, end)` of the contents of the boxes at `path` inside `data[start:end]`."""
    for _ in range(MAX_ISO_BOXES):
        if start + 8 > end:
            return
        length, header = int.from_bytes(data[start : start + 4]), 8
        if length == 1:
            length, header = int.from_bytes(data[start + 8 : start + 16]), 16
        stop = end if length == 0 else start + length
        if stop > end or stop < start + header:
            return
        if data[start + 4 : start + 8] == path[0]:
            content = start + header + (4 if path[0] == b"meta" else 0)  # meta is a FullBox: version and flags first
            if len(path) == 1:
                yield content, stop
            else:
                yield from _iso_boxes(data, path[1:], content, stop)
        start = stop


def decode_heif(data: bytes) -> NDArray[np.uint8] | None:
    """Decode a HEIC or AVIF file by Pillow to `uint8 (h, w, 3)` BGR or gray; None if no decoder is installed.

    Raises:
        PictureError: damaged.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        return None
    try:
        import pillow_heif  # type: ignore[import-not-found,import-untyped,unused-ignore]

        pillow_heif.register_heif_opener()
    except ImportError:
        pass
    with _pillow_errors():
        try:
            picture = Image.open(io.BytesIO(data))
        except UnidentifiedImageError:
            return None
        with picture:
            return decode_pillow(picture)


def yuv_to_bgr(planes: NDArray[np.uint8], color: str, cv2: Any) -> NDArray[np.uint8]:
    """Convert a frame of YUV 4:2:0 planes, `uint8 (h * 3/2, w)`, to `(h, w, 3)` BGR.

    Args:
        planes: as libcamera and Picamera2 return them: the rows of Y, then U and V at half the size. Y is in 16..235
            (BT.601, OpenCV's conversion and the one that Picamera2 documents).
        color: `yuv420` (I420: U, then V) or `nv12` (U and V interleaved).
        cv2: the OpenCV module.

    Raises:
        PictureError: a shape that YUV 4:2:0 planes cannot have.
    """
    pixels = planes[:, :, 0] if planes.ndim == 3 and planes.shape[2] == 1 else planes
    if pixels.ndim != 2 or pixels.shape[0] % 3 or pixels.shape[1] % 2:
        raise PictureError(f"expected {color} planes (height * 3/2, width), both even, found {planes.shape}")
    converted: NDArray[np.uint8] = cv2.cvtColor(np.ascontiguousarray(pixels), getattr(cv2, YUV_CONVERSIONS[color]))
    return converted


def looks_like_yuv(pixels: NDArray[np.uint8]) -> bool:
    """Return whether `uint8 (h, w)`, passed as gray, is probably a camera's YUV420 planes (I420).

    A gray picture may have any shape, so two conditions must hold: without its last third it is 4:3 or 16:9 and at
    least MIN_YUV_WIDTH wide; and the last third resembles chroma planes: its left and right half (adjacent rows of one
    smooth plane) are similar, with a mean near 128. Flat pictures count as gray. NV12 is not recognized.
    """
    rows, columns = pixels.shape
    if columns < MIN_YUV_WIDTH or (8 * rows != 9 * columns and 32 * rows != 27 * columns) or rows % 3 or columns % 2:
        return False
    chroma = pixels[rows * 2 // 3 :].astype(np.int16)
    left_half, right_half = chroma[:, : columns // 2], chroma[:, columns // 2 :]
    return bool(
        np.abs(left_half - right_half).mean() <= CHROMA_ROW_DIFFERENCE
        and NEUTRAL_CHROMA[0] <= chroma.mean() <= NEUTRAL_CHROMA[1]
        and np.ptp(pixels[: rows * 2 // 3]) > 2 * CHROMA_ROW_DIFFERENCE
    )
