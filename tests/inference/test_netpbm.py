"""Netpbm pictures: white is what the header calls white."""

from __future__ import annotations

import numpy as np
import pytest

from feredge.errors import PictureError
from feredge.inference.pictures import picture_size, read_picture

RAMP = np.tile(np.arange(256), (4, 1))


def encode(kind: str, values: np.ndarray, maxval: int) -> bytes:
    """Write `(h, w, channels)` as a netpbm file."""
    height, width, channels = values.shape
    if kind == "P7":
        header = f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {channels}\nMAXVAL {maxval}\nENDHDR\n"
    else:
        header = f"{kind}\n# by a test\n{width} {height}\n{maxval}\n"
    if kind in ("P2", "P3"):
        return header.encode() + " ".join(map(str, values.ravel())).encode() + b"\n"
    return header.encode() + values.astype(">u2" if maxval > 255 else "u1").tobytes()


@pytest.mark.parametrize("maxval", [1, 15, 100, 200, 255, 1023, 4095, 65535])
@pytest.mark.parametrize(("kind", "channels"), [("P2", 1), ("P5", 1), ("P3", 3), ("P6", 3), ("P7", 1), ("P7", 3)])
def test_white_is_the_maximum_value(kind: str, channels: int, maxval: int) -> None:
    """Guards 10- and 12-bit cameras, whose white came out as 3 and 15 of 255; and red against blue."""
    scale = np.array([1.0, 0.5, 0.0])[:channels]
    values = np.rint(RAMP[:, :, None] * scale * maxval / 255).astype(int)
    pixels = read_picture(encode(kind, values, maxval)).astype(int)
    wanted = values * 255 / maxval
    wanted = wanted[:, :, 0] if channels == 1 else wanted[:, :, ::-1]
    assert pixels.shape == wanted.shape and np.abs(pixels - wanted).max() <= 1


@pytest.mark.parametrize(("channels", "colors"), [(2, 1), (4, 3)])
def test_alpha_of_a_pam_is_dropped(channels: int, colors: int) -> None:
    """Guards cutouts: transparency is no fourth colour."""
    values = np.random.default_rng(0).integers(0, 256, (5, 6, channels))
    pixels = read_picture(encode("P7", values, 255))
    assert (pixels == (values[:, :, 0] if colors == 1 else values[:, :, 2::-1])).all()


def test_bits_are_no_maximum_value() -> None:
    """A PBM has none: what stands behind its size are pixels, and 1 is black."""
    assert read_picture(b"P1\n4 1\n1 0 1 0\n").tolist() == [[0, 255, 0, 255]]
    assert read_picture(b"P4\n8 1\n\xaa").tolist() == [[0, 255] * 4]


def test_values_over_the_maximum_are_white() -> None:
    """A wrong header must not wrap around to black."""
    assert read_picture(b"P5 2 1 100\n\xff\x64").tolist() == [[255, 255]]


def test_comment_before_the_pixels() -> None:
    """The comment's end is the one blank before the pixels, the first of which may look like a blank."""
    assert read_picture(b"P5 2 1 255# end\n\n\x20").tolist() == [[10, 32]]


@pytest.mark.parametrize(
    "data",
    [b"P5 4 4 255\n123", b"P6 4 4 70000\n" + b"1" * 99, b"P5 4 4 0\n" + b"1" * 16, b"P5 0 4 255\n", b"P5 4 4 ",
     b"P7\nWIDTH 4\nHEIGHT 4\nENDHDR\n", b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 9\nMAXVAL 255\nENDHDR\n" + b"1" * 36],
)  # fmt: skip
def test_damaged(data: bytes) -> None:
    """Too few pixels, no pixels, a maximum that is none: one line."""
    with pytest.raises(PictureError, match="the given bytes: expected"):
        read_picture(data)


def test_size() -> None:
    """The pixel limit rests on it, for PAM too."""
    assert picture_size(b"P7\nWIDTH 90000\nHEIGHT 90000\nDEPTH 1\nMAXVAL 255\nENDHDR\n") == (90000, 90000)
