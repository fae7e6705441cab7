"""Pictures of further kinds: what Pillow holds, files in memory, HEIC and AVIF, a camera's YUV planes."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterator
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
"""Files of folders that are taken as pictures, in lower case. HEIC needs pillow-heif."""

HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis"))
MAX_BOXES = 1000  # of one level of an ISO base media file that are looked at

YUV_CONVERSIONS = {"yuv420": "COLOR_YUV2BGR_I420", "nv12": "COLOR_YUV2BGR_NV12"}
MIN_YUV_WIDTH = 160  # no camera's frame is smaller, and face crops often are
NEUTRAL_CHROMA = (80.0, 176.0)  # the mean of chroma planes in ordinary light; 128 is gray
CHROMA_ROW_DIFFERENCE = 4.0  # mean difference of neighbouring rows of a chroma plane, which is smooth


def read_memory(picture: Any, max_pixels: int) -> bytes | NDArray[np.uint8]:
    """Return a picture that is no array, path or `bytes` as file bytes, or as `uint8 (h, w)` or `(h, w, 3)` BGR.

    Args:
        picture: a picture of Pillow, `bytearray`, `memoryview`, `io.BytesIO` (from its beginning, wherever it
            stands) or another file opened for reading bytes (from where it stands).
        max_pixels: of a picture of Pillow, which may not have been decoded yet.

    Raises:
        PictureError: none of these, or a file that cannot be read.
    """
    if isinstance(picture, io.BytesIO):
        return picture.getvalue()
    if isinstance(picture, (bytearray, memoryview)):
        return bytes(picture)
    pillow = sys.modules.get("PIL.Image")  # whoever has such a picture has imported it
    if pillow is not None and isinstance(picture, pillow.Image):
        if picture.size[0] * picture.size[1] > max_pixels:
            raise PictureError(f"expected at most {max_pixels:,} pixels, found {picture.size[0]} x {picture.size[1]}")
        return from_pillow(picture)
    if not hasattr(picture, "read"):
        raise PictureError(f"expected an array, a path, bytes or a picture of Pillow, found {type(picture).__name__}")
    try:
        data = picture.read()
    except (OSError, ValueError) as error:
        raise PictureError(f"expected a file opened for reading, cannot be read ({error})") from error
    if not isinstance(data, bytes):
        raise PictureError(f"expected a file opened in binary mode, found one that gives {type(data).__name__}")
    return data


def from_pillow(picture: Any) -> NDArray[np.uint8]:
    """Return a `PIL.Image.Image` as `uint8 (h, w)` gray or `(h, w, 3)` BGR, turned as its orientation mark says.

    Raises:
        PictureError: of no pixels, damaged, or of integers or floats of no stated range (modes I and F).
    """
    from PIL import ImageOps

    if 0 in picture.size:
        raise PictureError(f"expected a picture, found an empty one {picture.size}")
    try:
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
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        raise PictureError(f"expected a whole picture, Pillow refused it ({one_line(error)})") from error


def is_heif(data: bytes) -> bool:
    """Return whether a file is HEIC, HEIF or AVIF, by its brand."""
    return data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS


def heif_size(data: bytes) -> tuple[int, int]:
    """Return the largest `(width, height)` that a HEIF or AVIF file states of an image; ValueError without one."""
    sizes = []
    for start, end in _boxes(data, (b"meta", b"iprp", b"ipco", b"ispe"), 0, len(data)):
        if end - start >= 12:
            sizes.append(struct.unpack_from(">II", data, start + 4))
    if not sizes:
        raise ValueError("no image size")
    return max(sizes, key=lambda size: size[0] * size[1])


def _boxes(data: bytes, path: tuple[bytes, ...], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield `(start, end)` of the contents of the boxes at `path` inside `data[start:end]`."""
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        length, header = int.from_bytes(data[start : start + 4]), 8
        if length == 1:
            length, header = int.from_bytes(data[start + 8 : start + 16]), 16
        stop = end if length == 0 else start + length
        if stop > end or stop < start + header:
            return
        if data[start + 4 : start + 8] == path[0]:
            inside = start + header + (4 if path[0] == b"meta" else 0)  # meta has a version before its boxes
            if len(path) == 1:
                yield inside, stop
            else:
                yield from _boxes(data, path[1:], inside, stop)
        start = stop


def decode_heif(data: bytes) -> NDArray[np.uint8] | None:
    """Return a HEIC or AVIF file as `uint8 (h, w, 3)` BGR or gray, by Pillow; None where no reader is installed.

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
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return from_pillow(picture)
    except UnidentifiedImageError:
        return None
    except (OSError, ValueError, SyntaxError, RuntimeError) as error:
        raise PictureError(f"expected a whole picture, Pillow refused it ({one_line(error)})") from error


def from_yuv(planes: NDArray[np.uint8], color: str, cv2: Any) -> NDArray[np.uint8]:
    """Return a frame of YUV 4:2:0 planes, `uint8 (h * 3/2, w)`, as `(h, w, 3)` BGR.

    Args:
        planes: as libcamera and Picamera2 give them: the rows of Y, then U and V at half the size. Y spans 16 to
            235 (BT.601, OpenCV's conversion and the one that Picamera2 documents).
        color: `yuv420` (I420: U, then V) or `nv12` (U and V interleaved).
        cv2: OpenCV.

    Raises:
        PictureError: of a shape that is none of such planes.
    """
    pixels = planes[:, :, 0] if planes.ndim == 3 and planes.shape[2] == 1 else planes
    if pixels.ndim != 2 or pixels.shape[0] % 3 or pixels.shape[1] % 2:
        raise PictureError(f"expected {color} planes (height * 3/2, width), both even, found {planes.shape}")
    converted: NDArray[np.uint8] = cv2.cvtColor(np.ascontiguousarray(pixels), getattr(cv2, YUV_CONVERSIONS[color]))
    return converted


def looks_like_yuv(pixels: NDArray[np.uint8]) -> bool:
    """Return whether gray `uint8 (h, w)` is a camera's YUV420 planes (I420) that somebody forgot to name.

    A gray picture may have any shape, so two things must hold: without its last third it is a frame of 4:3 or 16:9,
    at least 160 wide; and the last third is as chroma planes are, its left and right half nearly alike (they are
    neighbouring rows of one smooth plane), around 128. Flat pictures are let through. NV12 is not recognized.
    """
    rows, columns = pixels.shape
    if columns < MIN_YUV_WIDTH or (8 * rows != 9 * columns and 32 * rows != 27 * columns) or rows % 3 or columns % 2:
        return False
    chroma = pixels[rows * 2 // 3 :].astype(np.int16)
    left, right = chroma[:, : columns // 2], chroma[:, columns // 2 :]
    return bool(
        np.abs(left - right).mean() <= CHROMA_ROW_DIFFERENCE
        and NEUTRAL_CHROMA[0] <= chroma.mean() <= NEUTRAL_CHROMA[1]
        and np.ptp(pixels[: rows * 2 // 3]) > 2 * CHROMA_ROW_DIFFERENCE
    )
