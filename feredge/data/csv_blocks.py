"""Vectorized parser of FER2013's csv: numpy parses a block of lines at a time.

Every byte below "0" ends a token; the number that ends before each byte is computed for all bytes of the block at once.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feredge.data.csv_rows import IMAGE_PIXELS, ParsedBlock, RowError, read_row

BLOCK_BYTES = 1 << 19
"""Bytes parsed at once, at most twice as many: larger blocks leave the CPU caches, smaller ones cost calls."""
BYTE_LF, BYTE_SPACE, BYTE_0, BYTE_9 = b"\n 09"
BLOCK_PADDING = b"\n\n\n\n"
"""Prefix of every block, so that four bytes precede every number's end."""


def parse_uniform_block(block: bytes, columns: tuple[str, ...]) -> ParsedBlock | None:
    """Parse whole lines, after BLOCK_PADDING, that all have the same layout of separators; None if they do not.

    Also None for any malformed row: the cells around the pixels are read as csv, and the byte counts below ensure that
    the pixels consist of digits and single spaces only.
    """
    if len(block) > _buffers.size:
        return None
    text = np.frombuffer(block, np.uint8)
    numbers, ends = _parse_numbers(text)
    first_pixel, row_width = _row_layout(text[ends[: IMAGE_PIXELS + 100]])
    if not row_width or ends.size % row_width:
        return None
    pixels = numbers.take(ends).reshape(-1, row_width)[:, first_pixel : first_pixel + IMAGE_PIXELS]
    if pixels.max() > 255:
        return None
    ends = ends.reshape(-1, row_width)
    row_starts = np.concatenate(([len(BLOCK_PADDING)], ends[:-1, -1] + 1))
    pixel_starts = ends[:, first_pixel - 1] + 1 if first_pixel else row_starts
    pixel_ends = ends[:, first_pixel + IMAGE_PIXELS - 1]
    bounds = zip(row_starts.tolist(), pixel_starts.tolist(), pixel_ends.tolist(), ends[:, -1].tolist(), strict=True)
    parsed = [
        _parse_cells(block[row_start:pixel_start] + block[pixel_end : row_end + 1], columns)
        for row_start, pixel_start, pixel_end, row_end in bounds
    ]
    rows = [row for row in parsed if row is not None]
    if len(rows) < len(parsed):
        return None
    if _count(np.equal, text, BYTE_SPACE) != sum(row.spaces for row in rows) + (IMAGE_PIXELS - 1) * len(rows):
        return None
    if _count(np.greater, text, BYTE_9) != sum(row.letters for row in rows):
        return None
    return ParsedBlock(
        pixels=pixels.astype(np.uint8),
        labels=[row.label for row in rows],
        usage=[row.usage for row in rows],
        rows=np.arange(len(rows)),
        bad_rows=[],
        row_count=len(rows),
        line_count=len(rows),
    )


class _Buffers(threading.local):
    """Preallocated arrays of one thread for the bytes of a block: allocation costs twice as much as filling them."""

    size = 2 * BLOCK_BYTES

    def __init__(self) -> None:
        self.bytes = np.empty((5, self.size), np.uint8)
        self.numbers = np.zeros(self.size, np.uint16)


_buffers = _Buffers()


def _parse_numbers(text: NDArray[np.uint8]) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Return the number that ends before each byte, and the index of every token end in `text` after its padding.

    Where no digit precedes the byte, or more than three do, the number is over 255. Letters count as digits here.
    """
    size = len(text)
    digit, end, unit, pair, work = _buffers.bytes[:, :size]
    np.greater_equal(text, BYTE_0, out=digit.view(np.bool_))
    np.less(text, BYTE_0, out=end.view(np.bool_))
    np.bitwise_and(text, 15, out=unit)
    unit *= digit
    # From here on, index i of a slice is for the number that ends before byte i + 4.
    np.bitwise_and(digit[1:], digit[:-1], out=pair[1:])
    hundreds = np.bitwise_and(pair[3:-1], pair[1:-3], out=work[4:])  # 1 where all four bytes before are digits
    hundreds |= end[3:-1]  # or the byte before is no digit
    hundreds *= 8  # 800 is over 255 in any case; numpy's shift of bytes is ten times slower
    hundreds |= np.multiply(unit[1:-3], digit[2:-2], out=pair[4:])
    tens = np.multiply(unit[2:-2], np.uint8(10), out=pair[4:])
    tens += unit[3:-1]
    numbers = _buffers.numbers[:size]
    np.multiply(hundreds, np.uint16(100), out=numbers[4:])
    numbers[4:] += tens
    return numbers, np.flatnonzero(end.view(np.bool_))[len(BLOCK_PADDING) :]


def _count(comparison: np.ufunc, text: NDArray[np.uint8], byte: int) -> int:
    return int(np.count_nonzero(comparison(text, byte, out=_buffers.bytes[0, : len(text)].view(np.bool_))))


def _row_layout(separators: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the index of the separator that ends the first pixel and the separators per row, from the first row.

    The pixels are in the longest run of spaces; spaces in excess of those between pixels precede them. (0, 0) if the
    run is too short.
    """
    line_ends = np.flatnonzero(separators == BYTE_LF)
    if not line_ends.size:
        return 0, 0
    row_width = int(line_ends[0]) + 1
    non_spaces = np.flatnonzero(separators[:row_width] != BYTE_SPACE)
    runs = np.diff(non_spaces, prepend=-1) - 1
    longest = runs.argmax()
    if runs[longest] < IMAGE_PIXELS - 1:
        return 0, 0
    return int(non_spaces[longest]) - IMAGE_PIXELS + 1, row_width


class _RowCells(NamedTuple):
    """Label and usage of a row, and its counts of spaces and of bytes above "9" outside the pixels."""

    label: int
    usage: str
    spaces: int
    letters: int


@lru_cache(maxsize=1024)  # without an id column there are only classes x splits different lines
def _parse_cells(line: bytes, columns: tuple[str, ...]) -> _RowCells | None:
    """Parse a row whose pixels are cut out; None if it is malformed."""
    try:
        pixels, label, usage = read_row(line, columns)
    except RowError:
        return None
    if pixels or line.find(b"\n") != len(line) - 1:
        return None
    return _RowCells(label, usage, line.count(b" "), sum(byte > BYTE_9 for byte in line))
