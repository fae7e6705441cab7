"""Read the csv of Kaggle's facial-expression challenge (FER2013): `emotion,pixels,Usage`.

The file is 290 MB of digits, so it is read a block of lines at a time. A block whose rows are all of one shape is
parsed by numpy on another thread; any other is parsed line by line, which is slow and finds out what is wrong.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from feredge.data.csv_blocks import BLOCK, PAD, parse_alike
from feredge.data.csv_rows import COLUMNS, PIXELS, SIDE, BadRow, Part, parse_lines, shorten, split_cells
from feredge.errors import DataError
from feredge.inference.contract import Images
from feredge.inference.parallel import ordered_results

LONGEST = 1 << 20  # bytes; a row has some 9,000, so what goes on for longer is no csv of pixels
WORKERS = min(4, os.cpu_count() or 1)  # numpy's loops run beside each other; the main thread reads and hashes


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


def read_csv(path: Path, *, skip_bad_rows: bool = False) -> Table:
    """Read a csv with a `pixels` column and, in any order, `emotion`, `Usage` and `id`.

    A row's pixels are 2304 numbers from 0 to 255, separated by spaces. Quotes, CRLF, a byte-order mark and blank
    lines are taken. Memory: the pixels, and a few blocks of text.

    Raises:
        DataError: not such a file. A bad row is named by its number, counted from 1 below the header without
            blank lines, and by its line in the file; with `skip_bad_rows` it is left out instead.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            # Room for as many rows as there could be: memory is taken where rows are written, not before.
            images = np.empty((os.fstat(file.fileno()).st_size // (2 * PIXELS), PIXELS), np.uint8)
            columns = _header(file, digest, path)
            labels: list[int] = []
            usage: list[str] = []
            rows: list[int] = []
            reason = ""
            row_count, line_count = 0, 1
            for part in _parse(_blocks(file, digest, path), columns):
                if part.bad:
                    row, line, reason = part.bad[0]
                    if not skip_bad_rows:
                        raise DataError(f"{path}: row {row_count + row + 1} (line {line_count + line + 1}): {reason}")
                if len(rows) + len(part.rows) > len(images):
                    raise DataError(f"{path}: expected a csv that stays as it is, found it growing")
                images[len(rows) : len(rows) + len(part.rows)] = part.pixels
                labels += part.labels
                usage += part.usage
                rows += (part.rows + row_count).tolist()
                row_count += part.row_count
                line_count += part.line_count
    except OSError as error:
        raise DataError(f"{path}: expected a csv, cannot be read ({error.strerror})") from error
    if not rows:
        found = f"{row_count} rows, all bad: {reason}" if row_count else "none"
        raise DataError(f"{path}: expected rows of pixels below the header, found {found}")
    images.resize((len(rows), SIDE, SIDE), refcheck=False)  # gives the rest of the room back
    return Table(
        images=images,
        labels=np.array(labels, np.int8),
        usage=np.array(usage, np.str_),
        rows=np.array(rows, np.int64),
        digest=digest.hexdigest(),
        total=row_count,
    )


def read_ids(path: Path) -> list[str] | None:
    """Return the `id` of each data row of a csv that `read_csv` reads, as it is written; None without that column.

    A row that `read_csv` finds bad may have an empty one.

    Raises:
        DataError: as for `read_csv`.
    """
    try:
        with path.open("rb") as file:
            columns = _header(file, hashlib.sha256(), path)
            if "id" not in columns:
                return None
            at = columns.index("id")
            return [_cell(line, at) for line in file if line.strip()]
    except OSError as error:
        raise DataError(f"{path}: expected a csv, cannot be read ({error.strerror})") from error


def _cell(line: bytes, at: int) -> str:
    try:
        return split_cells(line)[at]
    except (BadRow, IndexError):
        return ""


def _header(file: BinaryIO, digest: Any, path: Path) -> tuple[str, ...]:
    """Return the column names, in lower case."""
    line = file.readline(LONGEST)
    digest.update(line)
    if not line:
        raise DataError(f"{path}: expected a csv with the header emotion,pixels,Usage, found an empty file")
    try:
        names = split_cells(line.removeprefix(b"\xef\xbb\xbf"))
    except BadRow:
        names = []
    columns = tuple(name.lower() for name in names)
    if "pixels" not in columns or len(set(columns)) < len(columns) or not set(columns) <= set(COLUMNS):
        found = line.decode("utf-8", "backslashreplace").strip()
        raise DataError(
            f"{path}: expected a header with pixels and any of emotion, Usage and id, found {shorten(found, 60)}"
        )
    return columns


def _blocks(file: BinaryIO, digest: Any, path: Path) -> Iterator[bytes]:
    """Yield the rest of the file in pieces that end where a line ends, each behind PAD."""
    rest = b""
    while data := file.read(BLOCK):
        digest.update(data)
        cut = data.rfind(b"\n") + 1
        if cut:
            yield b"".join((PAD, rest, memoryview(data)[:cut]))
            rest = data[cut:]
        elif len(rest) < LONGEST:
            rest += data
        else:
            raise DataError(f"{path}: expected rows of {PIXELS} pixels, found a line of over {LONGEST:,} bytes")
    if rest:
        yield PAD + rest + b"\n"


def _parse(blocks: Iterator[bytes], columns: tuple[str, ...]) -> Iterator[Part]:
    """Parse blocks on several threads; yield the results in order, holding only a few blocks at a time."""
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from ordered_results(pool, partial(_parse_block, columns=columns), blocks, ahead=2 * WORKERS)


def _parse_block(block: bytes, columns: tuple[str, ...]) -> Part:
    return parse_alike(block, columns) or parse_lines(block[len(PAD) :], columns)
