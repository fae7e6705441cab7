"""Pictures as they come: files, bytes, arrays and boxes of the usual kinds, checked before anything costly is done."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from feredge.errors import PictureError
from feredge.inference import netpbm, picture_kinds

Images: TypeAlias = NDArray[np.uint8]


class PillowImage(Protocol):
    """What tells a `PIL.Image.Image`, which only those have who use Pillow."""

    @property
    def mode(self) -> str:
        """Pillow's name of the pixels' type."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""


Picture: TypeAlias = (
    "NDArray[np.uint8] | str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | PillowImage"
)
Box: TypeAlias = "Sequence[float] | NDArray[Any] | Mapping[str, Any]"
Color: TypeAlias = Literal["bgr", "rgb", "yuv420", "nv12"]

MAX_PIXELS = 100_000_000
"""Larger picture files are refused before they are decoded: 100 million pixels take 300 MB in colour."""

OPENCV_LIMIT = "OPENCV_IO_MAX_IMAGE_PIXELS"
"""Environment variable: the same for OpenCV's own check, which it reads once, when it is imported."""

MOST_SEGMENTS = 2000
"""Of a JPEG before its size; 255 hold the largest colour profile, and more of them only take time to read."""

_JPEG = b"\xff\xd8"
_PNG = b"\x89PNG\r\n\x1a\n"
BOX_KEYS = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))


def opencv() -> Any:
    """Return the module `cv2`, imported on first need: ready gray crops do without it, and without its libraries.

    Raises:
        PictureError: it cannot be imported, as on a system without a desktop.
    """
    # A header may hide its size from the functions below, but not from what decodes it.
    os.environ.setdefault(OPENCV_LIMIT, str(MAX_PIXELS))
    try:
        import cv2
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "cv2"
        need = "pip install opencv-python" if missing else "sudo apt install libgl1 libglib2.0-0 libxcb1"
        where = "" if missing else "Debian and Raspberry Pi OS Lite need: "
        raise PictureError(f"OpenCV cannot be imported ({error}); {where}{need}") from error
    return cv2


def read_picture(source: str | os.PathLike[str] | bytes, *, gray: bool = False) -> Images:
    """Decode a picture file, or its bytes, to `uint8 (h, w)` gray or `(h, w, 3)` BGR.

    The camera's orientation mark is followed, pictures of another depth are scaled to 8 bits (PGM, PPM and PAM by the
    maximum value that they state), transparency is dropped, and of an animation only the first picture is read. HEIC
    needs pillow-heif; AVIF an OpenCV or Pillow that was built with it. With `gray`, of a JPEG only the brightness that
    it stores is decoded, in two thirds of the time; it is the gray of its BGR pixels, but for colours too strong for
    the screen.

    Raises:
        PictureError: missing, of another kind than these, PNG, JPEG, BMP, GIF, WebP and TIFF, of more than
            MAX_PIXELS (found in its header, before decoding), or damaged.
    """
    cv2 = opencv()
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _read(source)
    size = picture_size(data)
    if size is None:
        raise PictureError(
            f"{name}: expected a PNG, JPEG, BMP, GIF, WebP, TIFF, PNM, HEIC or AVIF picture, found {_kind(data)}"
        )
    if size[0] * size[1] > MAX_PIXELS:
        raise PictureError(f"{name}: expected at most {MAX_PIXELS:,} pixels, found {size[0]} x {size[1]}")
    try:
        pixels = _decode(cv2, data, gray)
    except cv2.error as error:
        raise PictureError(f"{name}: expected a whole picture, OpenCV refused it ({error.err})") from error
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error
    if pixels is None:
        raise PictureError(f"{name}: expected a whole picture, found {len(data)} bytes that OpenCV cannot decode")
    return pixels


def _decode(cv2: Any, data: bytes, gray: bool) -> Images | None:
    """Return a picture's pixels, None where it is damaged."""
    if data.startswith(_JPEG):
        how = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_ANYCOLOR
        return cv2.imdecode(np.frombuffer(data, np.uint8), how)  # type: ignore[no-any-return]
    if data.startswith(_PNG) and not _png_fits(data):
        return None
    if data[:1] == b"P":
        header = netpbm.read_header(data)
        if header.is_binary:
            return netpbm.decode_binary(data, header)
        if header.maxval > 255:  # OpenCV scales the values of a text file up to 255, and not beyond
            how = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
            wide = cv2.imdecode(np.frombuffer(data, np.uint8), how)
            return None if wide is None else netpbm.scale_to_bytes(wide, header.maxval)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR)
    if pixels is None and picture_kinds.is_heif(data):
        pixels = picture_kinds.decode_heif(data)
        if pixels is None:
            raise PictureError("HEIC needs `pip install pillow-heif`, AVIF a newer OpenCV or Pillow; found neither")
    return pixels  # type: ignore[no-any-return]


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return `(width, height)` as a picture file's header states them; None when it is no known kind of picture."""
    try:
        for start, read in _HEADERS.items():
            if data.startswith(start):
                return read(data)
        if picture_kinds.is_heif(data):
            return picture_kinds.heif_size(data)
    except (struct.error, IndexError, ValueError):
        pass  # a header that ends too early
    return None


def check_pixels(pixels: NDArray[Any]) -> None:
    """Raise PictureError unless `pixels` is a picture: `uint8`, `(h, w)` or `(h, w, 1 | 3 | 4)`, not empty."""
    if not isinstance(pixels, np.ndarray):
        raise PictureError(f"expected an array, a path or bytes, found {type(pixels).__name__}")
    if pixels.dtype != np.uint8:
        raise PictureError(f"expected uint8 pixels in 0..255, found {pixels.dtype}")
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        raise PictureError(f"expected a picture (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), found {pixels.shape}")
    if pixels.size == 0:
        raise PictureError(f"expected a picture, found an empty array {pixels.shape}")


def as_pixels(picture: Picture, *, gray: bool = False) -> Images:
    """Return a picture as a checked array: an array itself, any other as `in_order` reads it."""
    return in_order(picture, "bgr", gray=gray)[0]


def in_order(picture: Picture, color: Color, *, gray: bool = False) -> tuple[Images, Color]:
    """Return a picture as a checked array, and its channel order: an array's is `color`, any other's always BGR.

    Args:
        picture: a `uint8` array, which is returned itself; a path; the bytes of a picture file, in any of Python's
            types for them or in a file opened for reading; or a picture of Pillow.
        color: channel order of a colour array; or `yuv420`, `nv12` for the planes of a camera's frame, which
            `picture_kinds.from_yuv` describes and which come back as BGR.
        gray: as `read_picture` takes it.

    Raises:
        PictureError: no picture; or a gray array `(h, w)` that looks like YUV planes (as
            `picture_kinds.looks_like_yuv` says). The same array as `(h, w, 1)` is taken as gray.
    """
    if isinstance(picture, np.ndarray):
        check_pixels(picture)
        if color in picture_kinds.YUV_CONVERSIONS:
            return picture_kinds.from_yuv(picture, color, opencv()), "bgr"
        if picture.ndim == 2 and picture_kinds.looks_like_yuv(picture):
            raise PictureError(
                f"expected a gray picture (h, w), found {picture.shape} like a camera's YUV420 planes; "
                f'pass color="yuv420", or the gray picture as (h, w, 1)'
            )
        return picture, color
    if isinstance(picture, (str, bytes, os.PathLike)):
        return read_picture(picture, gray=gray), "bgr"
    read = picture_kinds.read_memory(picture, MAX_PIXELS)
    return read if isinstance(read, np.ndarray) else read_picture(read, gray=gray), "bgr"


def as_box(box: Box) -> tuple[int, int, int, int]:
    """Return a box as whole pixels `(x, y, width, height)`.

    Args:
        box: four numbers in that order, in a tuple, list or array; or a mapping with `x, y, width, height`,
            `x, y, w, h` or `left, top, width, height`. Fractions are rounded.

    Raises:
        PictureError: anything else, NaN or infinity, or a side shorter than one pixel.
    """
    values: Any = box
    if isinstance(box, Mapping):
        keys = next((keys for keys in BOX_KEYS if all(key in box for key in keys)), BOX_KEYS[0])
        values = [box.get(key) for key in keys]
    try:
        numbers = np.asarray(values, np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise PictureError(f"expected a box (x, y, width, height), found {box!r:.80}") from error
    # 2**31: beyond any picture, and where OpenCV's integers end
    if numbers.shape != (4,) or not (np.abs(numbers) < 2**31).all():
        raise PictureError(f"expected a box (x, y, width, height), found {box!r:.80}")
    x, y, width, height = (round(value) for value in numbers.tolist())
    if width < 1 or height < 1:
        raise PictureError(f"expected a box at least one pixel wide and high, found {(x, y, width, height)}")
    return x, y, width, height


def cut(pixels: Images, box: Box) -> Images:
    """Return the part of a picture inside a box, as a view; PictureError unless the box is wholly inside it."""
    x, y, width, height = as_box(box)
    rows, columns = pixels.shape[:2]
    if x < 0 or y < 0 or x + width > columns or y + height > rows:
        raise PictureError(f"expected a box inside the {columns}x{rows} picture, found {(x, y, width, height)}")
    return pixels[y : y + height, x : x + width]


def recolor(pixels: Images, channels: int, color: Color = "bgr") -> Images:
    """Return `(h, w, 1 | 3 | 4)` pixels as gray `(h, w, 1)`, or as RGB `(h, w, 3)` when `channels` is 3."""
    if color not in ("bgr", "rgb"):
        raise PictureError(f"expected colour order bgr or rgb, found {color!r}")
    found = pixels.shape[2]
    if found == channels and (found == 1 or color == "rgb"):
        return pixels
    cv2 = opencv()
    order = "GRAY" if found == 1 else color.upper() + ("A" if found == 4 else "")
    wanted = "GRAY" if channels == 1 else "RGB"
    converted = cv2.cvtColor(np.ascontiguousarray(pixels), getattr(cv2, f"COLOR_{order}2{wanted}"))
    return converted if channels == 3 else converted[:, :, None]  # type: ignore[no-any-return]


def resize(pixels: Images, height: int, width: int) -> Images:
    """Return `(h, w, C)` pixels as `(height, width, C)`: halved by averaging while twice as large, then bilinear.

    Every pixel counts: at less than twice the size, bilinear sampling leaves none out. OpenCV averages by halves
    ten times as fast as by other shares. An odd row or column is left out, which moves the picture by at most 1/100.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    cv2 = opencv()
    rows, columns, channels = pixels.shape
    while rows >= 2 * height and columns >= 2 * width:
        rows, columns = rows // 2, columns // 2
        halved = cv2.resize(pixels[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
        pixels = halved.reshape(rows, columns, channels)
    if (rows, columns) == (height, width):
        return pixels
    # A picture much longer one way than the other shrinks that way by more than two: averaged, or pixels are lost.
    how = cv2.INTER_AREA if max(rows / height, columns / width) >= 2 else cv2.INTER_LINEAR
    resized = cv2.resize(pixels, (width, height), interpolation=how)
    return resized.reshape(height, width, channels)  # type: ignore[no-any-return]


def _read(source: str | os.PathLike[str]) -> bytes:
    try:
        with open(source, "rb", buffering=0) as file:  # noqa: PTH123 - a Path costs as much as the reading
            return file.read()
    except OSError as error:
        raise PictureError(f"{source}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # a null byte in the name
        raise PictureError(f"{str(source)!r:.80}: cannot be read ({error})") from error


def _kind(data: bytes) -> str:
    if not data:
        return "an empty file"
    return "text" if data[:64].isascii() and b"\0" not in data[:64] else f"{len(data)} other bytes"


def _png(data: bytes) -> tuple[int, int]:
    return struct.unpack_from(">II", data, 16)


def _png_fits(data: bytes) -> bool:
    """Return whether a PNG's chunks lie inside it.

    OpenCV refuses any other as well, but first makes room for what a chunk says of its length: 4 KB of file can take
    it 4 GB and many seconds.
    """
    at = len(_PNG)
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4])
        if kind == b"IEND":
            return at <= len(data)
    return False


def _gif(data: bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", data, 6)


def _bmp(data: bytes) -> tuple[int, int]:
    old = struct.unpack_from("<I", data, 14)[0] == 12  # OS/2's header has 16-bit sizes
    width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    return abs(width), abs(height)  # a negative height says that rows run downwards


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(MOST_SEGMENTS):
        if (fill := _FILL.match(data, at)) is None:
            break
        at = fill.end()
        marker, length = struct.unpack_from(">BH", data, at)
        if marker < 0xC0 or 0xD0 <= marker <= 0xD9 or length < 2:  # none of a segment: libjpeg reads on right behind it
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack_from(">HH", data, at + 4)
            return width, height
        at += 1 + length
    raise ValueError("no size where segment follows segment")


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if data[8:12] != b"WEBP" or kind not in (b"VP8 ", b"VP8L", b"VP8X"):
        raise ValueError("not a WebP file")
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _tiff(data: bytes) -> tuple[int, int]:
    order = "<" if data[:2] == b"II" else ">"
    directory = struct.unpack_from(order + "I", data, 4)[0]
    sizes = {}
    for entry in range(struct.unpack_from(order + "H", data, directory)[0]):
        at = directory + 2 + 12 * entry
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if tag in (256, 257):  # ImageWidth, ImageLength
            if tag in sizes or kind not in (3, 4):
                raise ValueError("two sizes, or one that is no short or long integer")
            sizes[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)[0]
    if len(sizes) != 2:
        raise ValueError("no size in the first directory")
    return sizes[256], sizes[257]


def _netpbm(data: bytes) -> tuple[int, int]:
    header = netpbm.read_header(data)
    return header.width, header.height


_FILL = re.compile(rb"\xff+")
_HEADERS = {
    _PNG: _png,
    _JPEG: _jpeg,
    b"BM": _bmp,
    b"GIF87a": _gif,
    b"GIF89a": _gif,
    b"RIFF": _webp,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    **{f"P{kind}".encode(): _netpbm for kind in range(1, 8)},
}
