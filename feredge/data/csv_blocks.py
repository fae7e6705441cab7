"""Rows of FER2013's csv, parsed by numpy, a block of lines at a time.

Every byte below "0" ends a token, and the number before such an end is computed for all bytes of the block at once.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feredge.data.csv_rows import PIXELS, BadRow, Part, read_row

BLOCK = 1 << 19
"""Bytes to parse at once, and at most twice as many: more would leave the caches, fewer cost calls."""
LF, SPACE, ZERO, NINE = b"\n 09"
PAD = b"\n\n\n\n"
"""Stands before a block, so that four bytes stand before every number's end."""


def parse_alike(block: bytes, columns: tuple[str, ...]) -> Part | None:
    """Parse whole lines, behind PAD, that have their separators in the same places; None if they do not, or are bad.

    Nothing is taken on trust: what stands around the pixels is read as csv, and the counts below leave no byte
    of the pixels that is not a digit or a space.
    """
    if len(block) > _scratch.size:
        return None
    text = np.frombuffer(block, np.uint8)
    numbers, ends = _numbers(text)
    first, width = _shape(text[ends[: PIXELS + 100]])
    if not width or ends.size % width:
        return None
    values = numbers.take(ends).reshape(-1, width)[:, first : first + PIXELS]
    if values.max() > 255:
        return None
    ends = ends.reshape(-1, width)
    starts = np.concatenate(([len(PAD)], ends[:-1, -1] + 1))
    openings = ends[:, first - 1] + 1 if first else starts
    places = zip(
        starts.tolist(), openings.tolist(), ends[:, first + PIXELS - 1].tolist(), ends[:, -1].tolist(), strict=True
    )
    around = [_around(block[start:opening] + block[close : end + 1], columns) for start, opening, close, end in places]
    known = [each for each in around if each is not None]
    if len(known) < len(around):
        return None
    if _count(np.equal, text, SPACE) != sum(each.spaces for each in known) + (PIXELS - 1) * len(known):
        return None
    if _count(np.greater, text, NINE) != sum(each.letters for each in known):
        return None
    return Part(
        pixels=values.astype(np.uint8),
        labels=[each.label for each in known],
        usage=[each.usage for each in known],
        rows=np.arange(len(known)),
        bad=[],
        row_count=len(known),
        line_count=len(known),
    )


class _Scratch(threading.local):
    """A thread's arrays for the bytes of one block: to allocate them anew costs twice as much as to fill them."""

    size = 2 * BLOCK

    def __init__(self) -> None:
        self.bytes = np.empty((5, self.size), np.uint8)
        self.numbers = np.zeros(self.size, np.uint16)


_scratch = _Scratch()


def _numbers(text: NDArray[np.uint8]) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Return the number that ends before each byte, and where tokens end in `text` behind its PAD.

    Where no digit stands before the byte, or more than three do, the number is over 255. Letters count as
    digits here.
    """
    size = len(text)
    digit, end, unit, pair, work = _scratch.bytes[:, :size]
    np.greater_equal(text, ZERO, out=digit.view(np.bool_))
    np.less(text, ZERO, out=end.view(np.bool_))
    np.bitwise_and(text, 15, out=unit)
    unit *= digit
    # From here on, index i of a slice speaks of the number that ends before byte i + 4.
    np.bitwise_and(digit[1:], digit[:-1], out=pair[1:])
    hundreds = np.bitwise_and(pair[3:-1], pair[1:-3], out=work[4:])  # 1 where all four bytes before are digits
    hundreds |= end[3:-1]  # and where the byte before is none
    hundreds *= 8  # 8 hundreds are too many in any case; numpy's shift of bytes is ten times slower
    hundreds |= np.multiply(unit[1:-3], digit[2:-2], out=pair[4:])
    tens = np.multiply(unit[2:-2], np.uint8(10), out=pair[4:])
    tens += unit[3:-1]
    numbers = _scratch.numbers[:size]
    np.multiply(hundreds, np.uint16(100), out=numbers[4:])
    numbers[4:] += tens
    return numbers, np.flatnonzero(end.view(np.bool_))[len(PAD) :]


def _count(comparison: np.ufunc, text: NDArray[np.uint8], byte: int) -> int:
    return int(np.count_nonzero(comparison(text, byte, out=_scratch.bytes[0, : len(text)].view(np.bool_))))


def _shape(kinds: NDArray[np.uint8]) -> tuple[int, int]:
    """Return which of a row's separators ends its first pixel, and how many the row has, from the first row's.

    The pixels are in the longest run of spaces. Spaces more than there are between pixels stand before them.
    (0, 0) when the row holds too few.
    """
    lines = np.flatnonzero(kinds == LF)
    if not lines.size:
        return 0, 0
    width = int(lines[0]) + 1
    others = np.flatnonzero(kinds[:width] != SPACE)
    runs = np.diff(others, prepend=-1) - 1
    longest = runs.argmax()
    return (int(others[longest]) - PIXELS + 1, width) if runs[longest] >= PIXELS - 1 else (0, 0)


class _Around(NamedTuple):
    """A row without its pixels, and how many spaces and bytes above "9" it has."""

    label: int
    usage: str
    spaces: int
    letters: int


@lru_cache(maxsize=1024)  # without an id there are as many different ones as classes times splits
def _around(line: bytes, columns: tuple[str, ...]) -> _Around | None:
    try:
        pixels, label, usage = read_row(line, columns)
    except BadRow:
        return None
    if pixels or line.find(b"\n") != len(line) - 1:
        return None
    return _Around(label, usage, line.count(b" "), sum(byte > NINE for byte in line))
