"""Reading pictures, their headers and boxes."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from device_models import faces
from hypothesis import given, settings
from hypothesis import strategies as st

from feredge.errors import PictureError
from feredge.inference.contract import InputContract
from feredge.inference.pictures import check_pixels, opencv, picture_size, read_picture, to_box, to_pixels

KINDS = (".png", ".jpg", ".bmp", ".gif", ".webp", ".tiff", ".ppm")
COLOUR = faces(1, channels=3)[0]
ENCODED = {kind: cv2.imencode(kind, COLOUR)[1].tobytes() for kind in KINDS}


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("kind", KINDS)
def test_size_is_read_from_every_kind_of_header(kind: str) -> None:
    """The pixel limit rests on it."""
    assert picture_size(ENCODED[kind]) == (COLOUR.shape[1], COLOUR.shape[0])


@pytest.mark.parametrize("options", [[cv2.IMWRITE_WEBP_QUALITY, 70], [cv2.IMWRITE_WEBP_QUALITY, 101]])
def test_both_kinds_of_webp(options: list[int]) -> None:
    """Lossy and lossless WebP keep their size in different places."""
    data = cv2.imencode(".webp", COLOUR, options)[1].tobytes()
    assert picture_size(data) == (COLOUR.shape[1], COLOUR.shape[0])


def test_progressive_jpeg_with_a_thumbnail() -> None:
    """The frame's marker is behind others, and a thumbnail's own size must not be taken for the picture's."""
    data = cv2.imencode(".jpg", COLOUR, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    thumbnail = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes()
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    assert picture_size(data[:2] + segment + data[2:]) == (COLOUR.shape[1], COLOUR.shape[0])


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_file_is_an_error(kind: str) -> None:
    """A truncated download must not be named an expression."""
    with pytest.raises(PictureError, match="the given bytes"):
        read_picture(ENCODED[kind][: len(ENCODED[kind]) // 2])


def test_decompression_bomb_is_refused_before_decoding() -> None:
    """50,000 x 50,000 pixels of zeros are a small PNG and 2.5 GB of memory."""
    tracemalloc.start()
    try:
        with pytest.raises(PictureError, match=r"at most 100,000,000 pixels, found 50000 x 50000"):
            read_picture(png_header(50_000, 50_000) + b"\0" * 100)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_chunk_longer_than_its_file_is_given_no_room() -> None:
    """OpenCV refuses such a PNG too, but fills the gigabytes that one chunk claims before it does."""
    data = bytearray(ENCODED[".png"])
    data[33:37] = struct.pack(">I", 1_500_000_000)  # the length of the chunk after the header
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PictureError, match="cannot decode"):
        read_picture(bytes(data))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB


def jpeg(before: bytes, size: int = 3000) -> bytes:
    """Return a large gray JPEG with `before` in front of its own first segment."""
    data = cv2.imencode(".jpg", np.zeros((size, size), np.uint8))[1].tobytes()
    return data[:2] + before + data[2:]


SMALL = b"\xff\xc0" + struct.pack(">HBHHBBBB", 11, 8, 16, 16, 1, 1, 0x11, 0)  # a frame's header: 16 x 16, gray


def hidden() -> dict[str, bytes]:
    """Return pictures of 9 million pixels whose headers show 16 x 16 to a careless reader."""
    plain = cv2.imencode(".tiff", np.zeros((3000, 3000), np.uint8), [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes()
    start = struct.unpack_from("<I", plain, 4)[0]
    count = struct.unpack_from("<H", plain, start)[0]
    sizes = b"".join(struct.pack("<HHII", tag, 4, 1, 16) for tag in (256, 257))
    entries = plain[start + 2 : start + 2 + 12 * count]
    twice = struct.pack("<H", count + 2) + entries[:24] + sizes + entries[24:] + bytes(4)
    return {
        "garbage": jpeg(b"\xff\xe0\0\2" + b"\0\xc0" + SMALL[2:] + b"\0\0"),
        "restart mark": jpeg(b"\xff\xd0"),
        "length 0": jpeg(b"\xff\xe0\0\0"),
        "cr": b"P5\n#\r3000 3000\n16 16\n255\n" + bytes(9_000_000),
        "cut": b"P5\n#" + b"x" * 1012 + b"\n3000 3000\n255\n" + bytes(9_000_000),  # 1,024 bytes end in a number
        "two sizes": plain[:4] + struct.pack("<I", len(plain)) + plain[8:] + twice,
    }


@pytest.mark.parametrize("name", list(hidden()))
def test_a_size_is_read_as_opencv_reads_it_or_not_at_all(name: str) -> None:
    """Guards the pixel limit against headers that say one size here and another one to the decoder."""
    data = hidden()[name]
    assert picture_size(data) in (None, (3000, 3000))


def test_opencv_has_the_limit_too(tmp_path: Path) -> None:
    """Guards against headers that nobody thought of: where OpenCV comes first through here, it refuses by itself."""
    (tmp_path / "a.pgm").write_bytes(hidden()["cr"].replace(b"P5", b"P2", 1))  # binary ones OpenCV never sees
    code = (
        "import sys; from feredge.inference import pictures; pictures.MAX_PIXELS = 8_000_000\n"
        "pictures.picture_size = lambda data: (16, 16)\n"
        "try: pictures.read_picture(sys.argv[1])\n"
        "except pictures.PictureError as error: print(error)"
    )
    own = {name: value for name, value in os.environ.items() if name != "OPENCV_IO_MAX_IMAGE_PIXELS"}
    command = [sys.executable, "-c", code, str(tmp_path / "a.pgm")]
    done = subprocess.run(command, env=own, capture_output=True, text=True)
    assert "OpenCV refused it" in done.stdout, done.stderr


@pytest.mark.parametrize("filler", [b"\xff", b"\xff\xe0\0\2", b"\xff\0"])
def test_ten_megabytes_without_a_size_take_no_time(filler: bytes) -> None:
    """Guards a service: headers are read where all its requests wait."""
    data = b"\xff\xd8" + filler * (10_000_000 // len(filler))
    began = time.perf_counter()
    assert picture_size(data) is None
    assert time.perf_counter() - began < 0.2  # 0.9 s where each byte is looked at


def test_text_named_jpg(tmp_path: Path) -> None:
    """The suffix says nothing; the message says what was found."""
    path = tmp_path / "face.jpg"
    path.write_text("not a picture")
    with pytest.raises(PictureError, match=r"face\.jpg: expected a PNG, .* found text"):
        read_picture(path)


@pytest.mark.parametrize("name", ["none.png", ".", "a\0b"])
def test_unreadable_path(tmp_path: Path, name: str) -> None:
    """A missing file, a folder and an impossible name are PictureErrors, not OSErrors."""
    with pytest.raises(PictureError, match="cannot be read"):
        read_picture(f"{tmp_path}/{name}")


def test_orientation_mark_is_followed() -> None:
    """A phone stores portraits lying on their side, and no network knows a lying face."""
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    data = cv2.imencode(".jpg", COLOUR)[1].tobytes()
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + data[2:]
    assert np.array_equal(read_picture(turned), np.rot90(read_picture(data), -1))


def test_sixteen_bits_and_alpha() -> None:
    """16-bit files keep their brightness; alpha is dropped."""
    gray = COLOUR[:, :, 0]
    assert np.array_equal(read_picture(cv2.imencode(".png", gray.astype(np.uint16) * 257)[1].tobytes()), gray)
    clear = np.dstack([COLOUR, np.zeros_like(gray)])
    assert np.array_equal(read_picture(cv2.imencode(".png", clear)[1].tobytes()), COLOUR)


@pytest.mark.parametrize(
    "box",
    [
        (1, 2, 30, 40),
        [1.2, 2.4, 29.9, 40.1],
        np.array([1, 2, 30, 40], np.int32),
        np.array([[1.0, 2.0, 30.0, 40.0]], np.float32),
        {"x": 1, "y": 2, "width": 30, "height": 40},
        {"x": 1, "y": 2, "w": 30, "h": 40, "confidence": 0.9},
        {"left": 1, "top": 2, "width": np.int64(30), "height": 40},
    ],
)
def test_boxes_of_the_usual_types(box: object) -> None:
    """What cv2, MTCNN, DeepFace and numpy hand over; rounded, and plain ints."""
    found = to_box(box)  # type: ignore[arg-type]  # numpy numbers too
    assert found == (1, 2, 30, 40)
    assert all(type(value) is int for value in found)


@pytest.mark.parametrize(
    "box",
    [
        (1, 2, 0, 4),
        (1, 2, 3, -4),
        (1, 2, 3),
        (float("nan"), 2, 3, 4),
        (1, 2, float("inf"), 4),
        (1, 2, 3, 1e30),
        "abcd",
        None,
        {"x": 1},
        {"x": 1, "y": None, "w": 2, "h": 3},
        [[1, 2], [3]],
        (1, 2, 3j, 4),
        object(),
    ],
)
def test_bad_boxes(box: object) -> None:
    """Each is one clear error, whatever numpy thinks of it."""
    with pytest.raises(PictureError, match="expected a box"):
        to_box(box)  # type: ignore[arg-type]  # refused


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.zeros((0, 48), np.uint8), "empty array"),
        (np.zeros((48, 0, 3), np.uint8), "empty array"),
        (np.full((48, 48), np.nan, np.float32), "uint8 pixels in 0..255, found float32"),
        (np.zeros((48, 48), np.uint16), "found uint16"),
        (np.zeros((48, 48), bool), "found bool"),
        (np.zeros((48, 48, 5), np.uint8), r"found \(48, 48, 5\)"),
        (np.zeros((48, 48, 2), np.uint8), r"found \(48, 48, 2\)"),
        (np.zeros((1, 48, 48, 1), np.uint8), r"found \(1, 48, 48, 1\)"),
        (np.zeros(48, np.uint8), r"found \(48,\)"),
        (np.uint8(3), "found uint8"),
        ([[1, 2], [3, 4]], "an array, a path, bytes or a picture of Pillow, found list"),
        (None, "found NoneType"),
    ],
)
def test_bad_arrays(pixels: object, words: str) -> None:
    """What is no picture says so before OpenCV sees it."""
    with pytest.raises(PictureError, match=words):
        to_pixels(pixels)  # type: ignore[arg-type]  # refused


@settings(max_examples=300)
@given(data=st.binary(max_size=200), kind=st.sampled_from(KINDS), where=st.integers(0, 60), crop=st.integers(0, 4000))
def test_damaged_files_never_get_past(data: bytes, kind: str, where: int, crop: int) -> None:
    """Whatever the bytes, the answer is a picture or a PictureError."""
    whole = ENCODED[kind]
    damaged = whole[:where] + data + whole[where + len(data) : max(where, len(whole) - crop)]
    for one in (damaged, data):
        try:
            check_pixels(read_picture(one))
        except PictureError as error:
            assert "\n" not in str(error)


def test_opencv_without_its_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system without a desktop the message says what to install; a ready crop needs no OpenCV at all."""
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv2")
    opencv.cache_clear()
    with pytest.raises(PictureError, match="sudo apt install libgl1"):
        read_picture(ENCODED[".png"])
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(PictureError, match="pip install opencv-python"):
        read_picture(ENCODED[".png"])
    assert InputContract().to_tensor(np.zeros((48, 48), np.uint8)).shape == (48, 48, 1)
