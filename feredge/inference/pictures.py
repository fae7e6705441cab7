"""Input validation and decoding of pictures (files, bytes, arrays) and boxes, and their basic transforms."""

from __future__ import annotations

import functools
import os
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from feredge.errors import PictureError
from feredge.files import LFS_ADVICE, is_lfs_pointer
from feredge.inference import netpbm, picture_formats

Images: TypeAlias = NDArray[np.uint8]


class PillowImage(Protocol):
    """A `PIL.Image.Image`, by its structure: Pillow is optional."""

    @property
    def mode(self) -> str:
        """Pillow's name of the pixel type."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""


Picture: TypeAlias = (
    "NDArray[np.uint8] | str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | PillowImage"
)
Box: TypeAlias = "Sequence[float] | NDArray[Any] | Mapping[str, Any]"
Color: TypeAlias = Literal["bgr", "rgb", "yuv420", "nv12"]

MAX_PIXELS = 100_000_000
"""Limit of a picture file, checked before decoding: 100 million pixels take 300 MB in colour."""

OPENCV_LIMIT_VARIABLE = "OPENCV_IO_MAX_IMAGE_PIXELS"
"""Environment variable of OpenCV's own limit, which it reads on import."""

MAX_JPEG_SEGMENTS = 2000
"""Maximum JPEG segments before the frame header; the largest colour profile takes 255."""

_JPEG_MAGIC = b"\xff\xd8"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
BOX_KEYS = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))


@functools.cache  # an import statement and the environment cost as much as resizing a face
def opencv() -> Any:
    """Import and return `cv2`, on first need: gray crops of the right size do not need it.

    Raises:
        PictureError: it cannot be imported, as without the libraries of a desktop.
    """
    # Also limits the decoder, in case that a header's size is read differently below.
    os.environ.setdefault(OPENCV_LIMIT_VARIABLE, str(MAX_PIXELS))
    try:
        import cv2
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "cv2"
        command = "pip install opencv-python" if missing else "sudo apt install libgl1 libglib2.0-0 libxcb1"
        hint = "" if missing else "Debian and Raspberry Pi OS Lite need: "
        raise PictureError(f"OpenCV cannot be imported ({error}); {hint}{command}") from error
    return cv2


def read_picture(source: str | os.PathLike[str] | bytes, *, gray: bool = False) -> Images:
    """Decode a picture file, or its bytes, to `uint8 (h, w)` gray or `(h, w, 3)` BGR.

    The EXIF orientation is applied, other bit depths are scaled to 8 bits (PGM, PPM and PAM by their maxval), alpha is
    dropped, and only the first frame of an animation is read. HEIC needs pillow-heif; AVIF an OpenCV or Pillow built
    with it. With `gray`, only the luma of a JPEG is decoded, in two thirds of the time; it equals the gray of the BGR
    pixels except for out-of-gamut colours.

    Raises:
        PictureError: missing, of an unsupported format, of more than MAX_PIXELS (by its header, before decoding), or
            damaged. Supported are PNG, JPEG, BMP, GIF, WebP, TIFF, PNM, HEIC and AVIF.
    """
    cv2 = opencv()
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _read_file(source)
    size = picture_size(data)
    if size is None:
        raise PictureError(
            f"{name}: expected a PNG, JPEG, BMP, GIF, WebP, TIFF, PNM, HEIC or AVIF picture, "
            f"found {_describe_bytes(data)}"
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
    """Decode a picture file; None if it is damaged."""
    if data.startswith(_JPEG_MAGIC):
        flags = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_ANYCOLOR
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)  # type: ignore[no-any-return]
    if data.startswith(_PNG_MAGIC) and not _png_chunks_fit(data):
        return None
    if data[:1] == b"P":
        header = netpbm.read_header(data)
        if header.is_binary:
            return netpbm.decode_binary(data, header)
        if header.maxval > 255:  # OpenCV scales text files only up to a maxval of 255
            flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
            samples = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
            return None if samples is None else netpbm.scale_to_bytes(samples, header.maxval)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR)
    if pixels is None and picture_formats.is_heif(data):
        pixels = picture_formats.decode_heif(data)
        if pixels is None:
            raise PictureError("HEIC needs `pip install pillow-heif`, AVIF a newer OpenCV or Pillow; found neither")
    return pixels  # type: ignore[no-any-return]


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return `(width, height)` by a picture file's header; None for an unsupported format."""
    try:
        for start, read in _SIZE_READERS.items():
            if data.startswith(start):
                return read(data)
        if picture_formats.is_heif(data):
            return picture_formats.heif_size(data)
    except (struct.error, IndexError, ValueError):
        pass  # a truncated or invalid header
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


def to_pixels(picture: Picture, *, gray: bool = False) -> Images:
    """Return a picture as a checked array: an array unchanged, anything else as `pixels_and_order` decodes it."""
    return pixels_and_order(picture, "bgr", gray=gray)[0]


def pixels_and_order(picture: Picture, color: Color, *, gray: bool = False) -> tuple[Images, Color]:
    """Return a picture as a checked array, and its channel order: `color` for an array, BGR for anything else.

    Args:
        picture: a `uint8` array, returned unchanged; a path; the bytes of a picture file, in any bytes-like type or
            in a file opened for reading; or a Pillow image.
        color: channel order of a colour array; or `yuv420`, `nv12` for the planes of a camera's frame, which
            `picture_formats.yuv_to_bgr` converts to BGR.
        gray: as in `read_picture`.

    Raises:
        PictureError: an invalid picture; or a gray array `(h, w)` that `picture_formats.looks_like_yuv` takes for YUV
            planes. The same array as `(h, w, 1)` is accepted as gray.
    """
    if isinstance(picture, np.ndarray):
        check_pixels(picture)
        if color in picture_formats.YUV_CONVERSIONS:
            return picture_formats.yuv_to_bgr(picture, color, opencv()), "bgr"
        if picture.ndim == 2 and picture_formats.looks_like_yuv(picture):
            raise PictureError(
                f"expected a gray picture (h, w), found {picture.shape} like a camera's YUV420 planes; "
                f'pass color="yuv420", or the gray picture as (h, w, 1)'
            )
        return picture, color
    if isinstance(picture, (str, bytes, os.PathLike)):
        return read_picture(picture, gray=gray), "bgr"
    content = picture_formats.read_picture_object(picture, MAX_PIXELS)
    return content if isinstance(content, np.ndarray) else read_picture(content, gray=gray), "bgr"


def to_box(box: Box) -> tuple[int, int, int, int]:
    """Convert a box to whole pixels `(x, y, width, height)`.

    Args:
        box: four numbers in that order, in a tuple, list or array; or a mapping with the keys `x, y, width, height`,
            `x, y, w, h` or `left, top, width, height`. Values are rounded.

    Raises:
        PictureError: anything else, NaN or infinity, or a side under one pixel.
    """
    values: Any = box
    if isinstance(box, Mapping):
        keys = next((keys for keys in BOX_KEYS if all(key in box for key in keys)), BOX_KEYS[0])
        values = [box.get(key) for key in keys]
    try:
        numbers = np.asarray(values, np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise PictureError(f"expected a box (x, y, width, height), found {box!r:.80}") from error
    # 2**31: OpenCV's integers have 32 bits
    if numbers.shape != (4,) or not (np.abs(numbers) < 2**31).all():
        raise PictureError(f"expected a box (x, y, width, height), found {box!r:.80}")
    x, y, width, height = (round(value) for value in numbers.tolist())
    if width < 1 or height < 1:
        raise PictureError(f"expected a box at least one pixel wide and high, found {(x, y, width, height)}")
    return x, y, width, height


def crop(pixels: Images, box: Box) -> Images:
    """Crop a picture to a box, as a view; PictureError unless the box is wholly inside."""
    x, y, width, height = to_box(box)
    rows, columns = pixels.shape[:2]
    if x < 0 or y < 0 or x + width > columns or y + height > rows:
        raise PictureError(f"expected a box inside the {columns}x{rows} picture, found {(x, y, width, height)}")
    return pixels[y : y + height, x : x + width]


def convert_color(pixels: Images, channels: int, color: Color = "bgr") -> Images:
    """Convert `(h, w, 1 | 3 | 4)` pixels to gray `(h, w, 1)`, or to RGB `(h, w, 3)` if `channels` is 3."""
    if color not in ("bgr", "rgb"):
        raise PictureError(f"expected colour order bgr or rgb, found {color!r}")
    source_channels = pixels.shape[2]
    if source_channels == channels and (source_channels == 1 or color == "rgb"):
        return pixels
    cv2 = opencv()
    source = "GRAY" if source_channels == 1 else color.upper() + ("A" if source_channels == 4 else "")
    target = "GRAY" if channels == 1 else "RGB"
    converted = cv2.cvtColor(np.ascontiguousarray(pixels), getattr(cv2, f"COLOR_{source}2{target}"))
    return converted if channels == 3 else converted[:, :, None]  # type: ignore[no-any-return]


def resize(pixels: Images, height: int, width: int, out: Images | None = None) -> Images:
    """Resize `(h, w, C)` pixels to `(height, width, C)`: halved by area averaging while possible, then bilinear.

    Every pixel contributes: below a factor of two, bilinear sampling skips none. OpenCV averages by halves ten times
    as fast as by other factors. An odd row or column is dropped, which shifts the picture by at most 1/100.

    Args:
        pixels: one channel may also be `(h, w)`.
        height, width: of the result.
        out: contiguous `(height, width, C)` for the result, such as an image of a batch; a new array if not given.
    """
    rows, columns = pixels.shape[:2]
    shape = (height, width, pixels.shape[2] if pixels.ndim == 3 else 1)
    if (rows, columns) == (height, width):
        if out is None:
            return pixels.reshape(shape)
        out[:] = pixels.reshape(shape)
        return out
    cv2 = opencv()
    while rows >= 2 * height and columns >= 2 * width:
        if rows % 2 or columns % 2:
            pixels = pixels[: rows // 2 * 2, : columns // 2 * 2]
        rows, columns = rows // 2, columns // 2
        last = out if (rows, columns) == (height, width) else None
        pixels = cv2.resize(pixels, (columns, rows), last, interpolation=cv2.INTER_AREA)
    if (rows, columns) != (height, width):
        # An elongated picture may still shrink by two or more along one axis: bilinear sampling would skip pixels.
        shrinks = rows >= 2 * height or columns >= 2 * width
        pixels = cv2.resize(pixels, (width, height), out, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return pixels.reshape(shape) if out is None else out


def _read_file(source: str | os.PathLike[str]) -> bytes:
    try:
        with open(source, "rb", buffering=0) as file:  # noqa: PTH123 - Path.open costs as much as reading
            return file.read()
    except OSError as error:
        raise PictureError(f"{source}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # a null byte in the name
        raise PictureError(f"{str(source)!r:.80}: cannot be read ({error})") from error


def _describe_bytes(data: bytes) -> str:
    if not data:
        return "an empty file"
    if is_lfs_pointer(data):
        return LFS_ADVICE
    return "text" if data[:64].isascii() and b"\0" not in data[:64] else f"{len(data)} other bytes"


def _png_size(data: bytes) -> tuple[int, int]:
    return struct.unpack_from(">II", data, 16)


def _png_chunks_fit(data: bytes) -> bool:
    """Return whether a PNG's chunks lie inside the file.

    OpenCV refuses other files too, but first allocates each chunk's stated length: a file of 4 KB can cost 4 GB and
    many seconds.
    """
    at = len(_PNG_MAGIC)
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4])
        if kind == b"IEND":
            return at <= len(data)
    return False


def _gif_size(data: bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", data, 6)


def _bmp_size(data: bytes) -> tuple[int, int]:
    is_os2 = struct.unpack_from("<I", data, 14)[0] == 12  # this header has 16-bit sizes
    width, height = struct.unpack_from("<HH" if is_os2 else "<ii", data, 18)
    return abs(width), abs(height)  # a negative height means top-down rows


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(MAX_JPEG_SEGMENTS):
        if (fill := _JPEG_FILL_BYTES.match(data, at)) is None:
            break
        at = fill.end()
        marker, length = struct.unpack_from(">BH", data, at)
        if (
            marker < 0xC0 or 0xD0 <= marker <= 0xD9 or length < 2
        ):  # markers without a length: libjpeg continues right after them
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack_from(">HH", data, at + 4)
            return width, height
        at += 1 + length
    raise ValueError("no frame header")


def _webp_size(data: bytes) -> tuple[int, int]:
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


def _tiff_size(data: bytes) -> tuple[int, int]:
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


def _netpbm_size(data: bytes) -> tuple[int, int]:
    header = netpbm.read_header(data)
    return header.width, header.height


_JPEG_FILL_BYTES = re.compile(rb"\xff+")
_SIZE_READERS = {
    _PNG_MAGIC: _png_size,
    _JPEG_MAGIC: _jpeg_size,
    b"BM": _bmp_size,
    b"GIF87a": _gif_size,
    b"GIF89a": _gif_size,
    b"RIFF": _webp_size,
    b"II*\0": _tiff_size,
    b"MM\0*": _tiff_size,
    **{f"P{kind}".encode(): _netpbm_size for kind in range(1, 8)},
}
