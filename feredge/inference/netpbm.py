"""Netpbm pictures (PBM, PGM, PPM, PAM): header parsing, and pixels scaled from the stated maxval to 8 bits.

OpenCV does not scale a binary PGM or PPM, so that white of a 12-bit sensor becomes 15 of 255, and it
swaps red and blue of a PAM. The formats: https://netpbm.sourceforge.net/doc/pgm.html and pam.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_HEADER_BYTES = 1024

_SPACE_OR_COMMENT = rb"(?:\s|#[^\r\n]*[\r\n])"
_SIZE_AND_MAXVAL = re.compile(rb"%b*(\d+)%b+(\d+)(?:%b+(\d+))?" % ((_SPACE_OR_COMMENT,) * 3))
_RASTER_START = re.compile(rb"(?:#[^\r\n]*)?\s")
_PAM_FIELD = re.compile(rb"(WIDTH|HEIGHT|DEPTH|MAXVAL)\s+(\d+)\s*$")


@dataclass(frozen=True)
class NetpbmHeader:
    """A file's header; `kind` is its magic number, `maxval` the value of white, `raster` the first pixel's offset."""

    kind: bytes
    width: int
    height: int
    channels: int
    maxval: int
    raster: int

    @property
    def is_binary(self) -> bool:
        """Whether samples are stored as one or two bytes, not as text or bits."""
        return self.kind in (b"P5", b"P6", b"P7")


def read_header(data: bytes) -> NetpbmHeader:
    """Parse the header of a file that begins with P1 to P7; ValueError if it is malformed."""
    kind = data[:2]
    if kind == b"P7":
        return _read_pam_header(data)
    match = _SIZE_AND_MAXVAL.match(data, 2, MAX_HEADER_BYTES)
    if match is None:
        raise ValueError("no size after whitespace and comments")
    if kind in (b"P1", b"P4"):  # a bitmap has no maxval: a third number would be pixels
        return NetpbmHeader(kind, int(match[1]), int(match[2]), 1, 1, match.end(2) + 1)
    if match[3] is None or (raster := _RASTER_START.match(data, match.end())) is None:
        raise ValueError("no maximum value after the size")
    channels = 3 if kind in (b"P3", b"P6") else 1
    return _check_maxval(NetpbmHeader(kind, int(match[1]), int(match[2]), channels, int(match[3]), raster.end()))


def _read_pam_header(data: bytes) -> NetpbmHeader:
    end = data.find(b"ENDHDR\n", 0, MAX_HEADER_BYTES)
    if end < 0:
        raise ValueError("no ENDHDR")
    fields = {match[1]: int(match[2]) for line in data[3:end].split(b"\n") if (match := _PAM_FIELD.match(line.strip()))}
    try:
        width, height, channels, maxval = (fields[name] for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
    except KeyError as error:
        raise ValueError(f"no {error}") from error
    if channels not in (1, 2, 3, 4):
        raise ValueError(f"{channels} channels")
    return _check_maxval(NetpbmHeader(b"P7", width, height, channels, maxval, end + len(b"ENDHDR\n")))


def _check_maxval(header: NetpbmHeader) -> NetpbmHeader:
    if not 1 <= header.maxval <= 65535:
        raise ValueError(f"maximum value {header.maxval}")
    return header


def decode_binary(data: bytes, header: NetpbmHeader) -> NDArray[np.uint8] | None:
    """Decode a P5, P6 or P7 picture to `uint8 (h, w)` gray or `(h, w, 3)` BGR without alpha; None if truncated."""
    dtype = np.dtype(">u2" if header.maxval > 255 else "u1")
    count = header.width * header.height * header.channels
    if count == 0 or len(data) < header.raster + count * dtype.itemsize:
        return None
    pixels = np.frombuffer(data, dtype, count, header.raster).reshape(header.height, header.width, header.channels)
    pixels = pixels[:, :, 2::-1] if header.channels >= 3 else pixels[:, :, 0]
    return scale_to_bytes(pixels, header.maxval)


def scale_to_bytes(pixels: NDArray[np.uint8] | NDArray[np.uint16], maxval: int) -> NDArray[np.uint8]:
    """Scale integers in 0..`maxval` to `uint8` in 0..255, rounded; larger ones become white."""
    if maxval == 255:
        return np.array(pixels, np.uint8, order="C")
    table = np.minimum((np.arange(65536 if maxval > 255 else 256) * 255 + maxval // 2) // maxval, 255).astype(np.uint8)
    return table[pixels]
