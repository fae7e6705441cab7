"""Reader of FER2013's csv, from Kaggle's facial-expression challenge: `emotion,pixels,Usage`.

The file is 290 MB of digits and is read in blocks of lines. Worker threads parse a block with numpy where all its rows
have the same layout, else line by line, which is slow and names every malformed row.
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

from feredge.data.csv_blocks import BLOCK_BYTES, BLOCK_PADDING, parse_uniform_block
from feredge.data.csv_rows import (
    COLUMN_NAMES,
    IMAGE_PIXELS,
    IMAGE_SIDE,
    ParsedBlock,
    RowError,
    parse_lines,
    shorten,
    split_cells,
)
from feredge.errors import DataError
from feredge.files import LFS_ADVICE, is_lfs_pointer
from feredge.inference.contract import Images
from feredge.inference.parallel import ordered_results

MAX_LINE_BYTES = 1 << 20  # a row has some 9,000 bytes
PARSE_WORKERS = min(4, os.cpu_count() or 1)  # numpy releases the GIL; the main thread reads and hashes


@dataclass(frozen=True, eq=False)
class CsvTable:
    """The rows of a csv.

    Attributes:
        images: `uint8 (N, 48, 48)`.
        labels: `int8 (N,)`, NO_LABEL without an `emotion` column.
        usage: `str (N,)`, empty without a `Usage` column.
        rows: `int64 (N,)`, 0-based data row of each.
        digest: SHA-256 of the file.
        total: data rows in the file, including malformed ones that were skipped.
    """

    images: Images
    labels: NDArray[np.int8]
    usage: NDArray[np.str_]
    rows: NDArray[np.int64]
    digest: str
    total: int


def read_csv(path: Path, *, skip_bad_rows: bool = False) -> CsvTable:
    """Read a csv with a `pixels` column and, in any order, `emotion`, `Usage` and `id`.

    A row's pixels are 2304 numbers from 0 to 255, separated by spaces. Quotes, CRLF, a byte-order mark and blank
    lines are accepted. Peak memory: the pixels, and a few blocks of text.

    Raises:
        DataError: not such a file. A malformed row is named by its number, counted from 1 below the header without
            blank lines, and by its line in the file; with `skip_bad_rows` it is skipped instead.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            # Allocated for the most rows that the file can hold; pages are committed only when rows are written.
            images = np.empty((os.fstat(file.fileno()).st_size // (2 * IMAGE_PIXELS), IMAGE_PIXELS), np.uint8)
            columns = _header(file, digest, path)
            labels: list[int] = []
            usage: list[str] = []
            rows: list[int] = []
            reason = ""
            row_count, line_count = 0, 1
            for block in _parse(_blocks(file, digest, path), columns):
                if block.bad_rows:
                    row, line, reason = block.bad_rows[0]
                    if not skip_bad_rows:
                        raise DataError(f"{path}: row {row_count + row + 1} (line {line_count + line + 1}): {reason}")
                if len(rows) + len(block.rows) > len(images):
                    raise DataError(f"{path}: expected a csv that does not change while it is read, found it growing")
                images[len(rows) : len(rows) + len(block.rows)] = block.pixels
                labels += block.labels
                usage += block.usage
                rows += (block.rows + row_count).tolist()
                row_count += block.row_count
                line_count += block.line_count
    except OSError as error:
        raise DataError(f"{path}: expected a csv, cannot be read ({error.strerror})") from error
    if not rows:
        content = f"{row_count} rows, all bad: {reason}" if row_count else "none"
        raise DataError(f"{path}: expected rows of pixels below the header, found {content}")
    images.resize((len(rows), IMAGE_SIDE, IMAGE_SIDE), refcheck=False)  # releases the unused part
    return CsvTable(
        images=images,
        labels=np.array(labels, np.int8),
        usage=np.array(usage, np.str_),
        rows=np.array(rows, np.int64),
        digest=digest.hexdigest(),
        total=row_count,
    )


def read_ids(path: Path) -> list[str] | None:
    """Return the `id` of each data row of a csv, as text; None without that column.

    It may be empty for a row that `read_csv` rejects.

    Raises:
        DataError: as for `read_csv`.
    """
    try:
        with path.open("rb") as file:
            columns = _header(file, hashlib.sha256(), path)
            if "id" not in columns:
                return None
            id_column = columns.index("id")
            return [_cell_or_empty(line, id_column) for line in file if line.strip()]
    except OSError as error:
        raise DataError(f"{path}: expected a csv, cannot be read ({error.strerror})") from error


def _cell_or_empty(line: bytes, column: int) -> str:
    try:
        return split_cells(line)[column]
    except (RowError, IndexError):
        return ""


def _header(file: BinaryIO, digest: Any, path: Path) -> tuple[str, ...]:
    """Return the column names, in lower case."""
    line = file.readline(MAX_LINE_BYTES)
    digest.update(line)
    if not line:
        raise DataError(f"{path}: expected a csv with the header emotion,pixels,Usage, found an empty file")
    if is_lfs_pointer(line):
        raise DataError(f"{path}: expected a csv, found {LFS_ADVICE}")
    try:
        names = split_cells(line.removeprefix(b"\xef\xbb\xbf"))
    except RowError:
        names = []
    columns = tuple(name.lower() for name in names)
    if "pixels" not in columns or len(set(columns)) < len(columns) or not set(columns) <= set(COLUMN_NAMES):
        header = line.decode("utf-8", "backslashreplace").strip()
        raise DataError(
            f"{path}: expected a header with pixels and any of emotion, Usage and id, found {shorten(header, 60)}"
        )
    return columns


def _blocks(file: BinaryIO, digest: Any, path: Path) -> Iterator[bytes]:
    """Yield the rest of the file in blocks of whole lines, each after BLOCK_PADDING."""
    remainder = b""
    while chunk := file.read(BLOCK_BYTES):
        digest.update(chunk)
        line_end = chunk.rfind(b"\n") + 1
        if line_end:
            yield b"".join((BLOCK_PADDING, remainder, memoryview(chunk)[:line_end]))
            remainder = chunk[line_end:]
        elif len(remainder) < MAX_LINE_BYTES:
            remainder += chunk
        else:
            raise DataError(
                f"{path}: expected rows of {IMAGE_PIXELS} pixels, found a line of over {MAX_LINE_BYTES:,} bytes"
            )
    if remainder:
        yield BLOCK_PADDING + remainder + b"\n"


def _parse(blocks: Iterator[bytes], columns: tuple[str, ...]) -> Iterator[ParsedBlock]:
    """Parse blocks on several threads; yield the results in order, with few blocks in memory."""
    with ThreadPoolExecutor(PARSE_WORKERS) as pool:
        yield from ordered_results(pool, partial(_parse_block, columns=columns), blocks, ahead=2 * PARSE_WORKERS)


def _parse_block(block: bytes, columns: tuple[str, ...]) -> ParsedBlock:
    return parse_uniform_block(block, columns) or parse_lines(block[len(BLOCK_PADDING) :], columns)
