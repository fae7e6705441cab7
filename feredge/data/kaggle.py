"""Read the csv of Kaggle's facial-expression challenge (FER2013): `emotion,pixels,Usage`.

The file is 290 MB of digits, so it is parsed by numpy, a block of lines at a time: every byte below "0" ends a
token, and the number before such an end is computed for all bytes of the block at once. A block whose rows are
not all of one shape is read again line by line, which is slow and finds out what is wrong.
"""

from __future__ import annotations

import csv
import hashlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from feredge.contract import CLASSES, Images
from feredge.data.dataset import NO_LABEL
from feredge.data.usage import as_usage
from feredge.errors import DataError

SIDE = 48
"""Height and width of the csv's pictures."""
PIXELS = SIDE * SIDE
COLUMNS = ("emotion", "pixels", "usage", "id", "")
"""Known column names, in lower case; pandas leaves the name of its index empty."""
BLOCK = 1 << 18  # bytes parsed at once: a block's arrays fit in the second-level cache
LONGEST = 1 << 20  # bytes; a row has some 9,000, so what goes on for longer is no csv of pixels
WORKERS = min(4, os.cpu_count() or 1)  # numpy's loops run beside each other; the main thread reads and hashes
LF, SPACE, ZERO, NINE = b"\n 09"
PAD = b"\n\n\n\n"  # before a block, so that four bytes stand before every number's end


@dataclass(frozen=True, eq=False)
class Table:
    """A csv's rows, as it has them.

    Attributes:
        images: `uint8 (N, 48, 48)`.
        labels: `int8 (N,)`, NO_LABEL without an `emotion` column.
        usage: `str (N,)`, empty without a `Usage` column.
        rows: `int64 (N,)`, 0-based data row of each.
        digest: SHA-256 of the file.
        total: data rows in the file; those that are not here were bad.
    """

    images: Images
    labels: NDArray[np.int8]
    usage: NDArray[np.str_]
    rows: NDArray[np.int64]
    digest: str
    total: int


class _Bad(NamedTuple):
    row: int
    line: int
    why: str


class _Part(NamedTuple):
    """What one block of lines holds; rows and lines are counted from 0 inside the block."""

    pixels: Images
    labels: list[int]
    usage: list[str]
    rows: NDArray[np.int64]
    bad: list[_Bad]
    row_count: int
    line_count: int


class _BadRow(Exception):
    """A row that breaks the format, and how."""


def read_csv(path: Path, *, skip_bad_rows: bool = False) -> Table:
    """Read a csv with a `pixels` column and, in any order, `emotion`, `Usage` and `id`.

    A row's pixels are 2304 numbers from 0 to 255, separated by spaces. Quotes, CRLF, a byte-order mark and blank
    lines are taken. Memory: the pixels, and a few blocks of text.

    Raises:
        DataError: not such a file. A bad row is named by its number, counted from 1 below the header without
            blank lines, and by its line in the file; with `skip_bad_rows` it is left out instead.
    """
    parts: list[_Part] = []
    row_count, line_count = 0, 1
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            columns = _header(file, digest, path)
            for part in _parse(_blocks(file, digest, path), columns):
                if part.bad and not skip_bad_rows:
                    row, line, why = part.bad[0]
                    raise DataError(f"{path}: row {row_count + row + 1} (line {line_count + line + 1}): {why}")
                parts.append(part._replace(rows=part.rows + row_count))
                row_count += part.row_count
                line_count += part.line_count
    except OSError as error:
        raise DataError(f"{path}: expected a csv, cannot be read ({error.strerror})") from error
    if not any(len(part.rows) for part in parts):
        found = f"{row_count} rows, all bad: {parts[0].bad[0].why}" if row_count else "none"
        raise DataError(f"{path}: expected rows of pixels below the header, found {found}")
    return Table(
        images=np.concatenate([part.pixels for part in parts]).reshape(-1, SIDE, SIDE),
        labels=np.array([label for part in parts for label in part.labels], np.int8),
        usage=np.array([usage for part in parts for usage in part.usage], np.str_),
        rows=np.concatenate([part.rows for part in parts]),
        digest=digest.hexdigest(),
        total=row_count,
    )


def _header(file: BinaryIO, digest: Any, path: Path) -> tuple[str, ...]:
    """Return the column names, in lower case."""
    line = file.readline(LONGEST)
    digest.update(line)
    if not line:
        raise DataError(f"{path}: expected a csv with the header emotion,pixels,Usage, found an empty file")
    try:
        names = _cells(line.removeprefix(b"\xef\xbb\xbf"))
    except _BadRow:
        names = []
    columns = tuple(name.lower() for name in names)
    if "pixels" not in columns or len(set(columns)) < len(columns) or not set(columns) <= set(COLUMNS):
        found = line.decode("utf-8", "backslashreplace").strip()
        raise DataError(
            f"{path}: expected a header with pixels and any of emotion, Usage and id, found {_short(found, 60)}"
        )
    return columns


def _blocks(file: BinaryIO, digest: Any, path: Path) -> Iterator[bytes]:
    """Yield the rest of the file in pieces that end where a line ends."""
    rest = b""
    while data := file.read(BLOCK):
        digest.update(data)
        cut = data.rfind(b"\n") + 1
        if cut:
            yield rest + data[:cut]
            rest = data[cut:]
        elif len(rest) < LONGEST:
            rest += data
        else:
            raise DataError(f"{path}: expected rows of {PIXELS} pixels, found a line of over {LONGEST:,} bytes")
    if rest:
        yield rest + b"\n"


def _parse(blocks: Iterator[bytes], columns: tuple[str, ...]) -> Iterator[_Part]:
    """Parse blocks on several threads; yield the results in order, holding only a few blocks at a time."""
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: deque[Future[_Part]] = deque()
        for block in blocks:
            waiting.append(pool.submit(_parse_block, block, columns))
            if len(waiting) > 2 * WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _parse_block(block: bytes, columns: tuple[str, ...]) -> _Part:
    return _parse_alike(block, columns) or _parse_lines(block, columns)


def _parse_alike(block: bytes, columns: tuple[str, ...]) -> _Part | None:
    """Parse lines that all have the same separators in the same places; None when they do not, or are bad.

    Nothing is taken on trust: what stands around the pixels is read as csv, and the counts below leave no byte
    of the pixels that is not a digit or a space.
    """
    padded = PAD + block
    if len(padded) > _scratch.size:
        return None
    text = np.frombuffer(padded, np.uint8)
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
    around = [
        _around(padded[start:opening] + padded[close : end + 1], columns) for start, opening, close, end in places
    ]
    known = [each for each in around if each is not None]
    if len(known) < len(around):
        return None
    if _count(np.equal, text, SPACE) != sum(each.spaces for each in known) + (PIXELS - 1) * len(known):
        return None
    if _count(np.greater, text, NINE) != sum(each.letters for each in known):
        return None
    return _Part(
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
    hundreds <<= 3  # 8 hundreds are too many in any case
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
        pixels, label, usage = _row(line, columns)
    except _BadRow:
        return None
    if pixels or line.count(b"\n") != 1:
        return None
    return _Around(label, usage, line.count(b" "), sum(byte > NINE for byte in line))


def _parse_lines(block: bytes, columns: tuple[str, ...]) -> _Part:
    """Parse line by line, and say of each bad row what is wrong with it."""
    pixels: list[list[int]] = []
    labels: list[int] = []
    usages: list[str] = []
    rows: list[int] = []
    bad: list[_Bad] = []
    row = -1
    lines = block.split(b"\n")[:-1]
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        row += 1
        try:
            text, label, usage = _row(line, columns)
            pixels.append(_pixels(text))
        except _BadRow as error:
            bad.append(_Bad(row, number, str(error)))
            continue
        labels.append(label)
        usages.append(usage)
        rows.append(row)
    array = np.array(pixels, np.uint8).reshape(-1, PIXELS)
    return _Part(array, labels, usages, np.array(rows, np.int64), bad, row + 1, len(lines))


def _row(line: bytes, columns: tuple[str, ...]) -> tuple[str, int, str]:
    """Return a row's pixels as text, its label and its usage."""
    cells = _cells(line)
    if len(cells) != len(columns):
        raise _BadRow(f"expected {len(columns)} columns, found {len(cells)}")
    row = dict(zip(columns, cells, strict=True))
    return row["pixels"], _label(row.get("emotion")), _usage(row.get("usage"))


def _cells(line: bytes) -> list[str]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _BadRow(f"expected text, found {_short(line)}") from error
    try:
        return [cell.strip() for cell in next(csv.reader([text.strip("\r\n")], strict=True), [])]
    except csv.Error as error:
        raise _BadRow(f"expected comma-separated values ({error})") from error


def _label(text: str | None) -> int:
    if text is None:
        return NO_LABEL
    if text not in _LABELS:
        raise _BadRow(f"expected an emotion from 0 to {len(CLASSES) - 1}, found {_short(text)}")
    return _LABELS[text]


_LABELS = {str(label): label for label in range(len(CLASSES))}


def _usage(text: str | None) -> str:
    if text is None:
        return ""
    usage = as_usage(text)
    if usage is None:
        raise _BadRow(f"expected a Usage of Training, PublicTest or PrivateTest, found {_short(text)}")
    return usage


def _pixels(text: str) -> list[int]:
    tokens = text.split()
    if len(tokens) != PIXELS:
        raise _BadRow(f"expected {PIXELS} pixels, found {len(tokens)}")
    return [_pixel(token) for token in tokens]


def _pixel(token: str) -> int:
    # int() would also take "+7", "1_0" and other alphabets' digits, and refuses over 4300 of them
    if token.isascii() and token.isdigit() and len(token) < 10 and (value := int(token)) < 256:
        return value
    _refuse(token)


def _refuse(token: str) -> NoReturn:
    raise _BadRow(f"expected pixels from 0 to 255, found {_short(token)}")


def _short(value: str | bytes, length: int = 20) -> str:
    return repr(value if len(value) <= length else value[:length]) + "..." * (len(value) > length)
