"""Row-by-row parser of FER2013's csv with the standard library, with an error message for every malformed row."""

from __future__ import annotations

import csv
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import NO_LABEL
from feredge.data.split_names import parse_split_name
from feredge.inference.contract import CLASSES, Images

IMAGE_SIDE = 48
"""Height and width of the csv's images."""
IMAGE_PIXELS = IMAGE_SIDE * IMAGE_SIDE
COLUMN_NAMES = ("emotion", "pixels", "usage", "id", "")
"""Accepted column names, in lower case; pandas leaves the name of its index empty."""

_LABELS_BY_TEXT = {str(label): label for label in range(len(CLASSES))}


class RowError(Exception):
    """A malformed row; the message says what is wrong."""


class BadRow(NamedTuple):
    """A malformed row: row and line number in its block, both 0-based, and what is wrong."""

    row: int
    line: int
    reason: str


class ParsedBlock(NamedTuple):
    """The rows of one block of lines; row and line numbers are 0-based within the block."""

    pixels: Images
    labels: list[int]
    usage: list[str]
    rows: NDArray[np.int64]
    bad_rows: list[BadRow]
    row_count: int
    line_count: int


def parse_lines(block: bytes, columns: tuple[str, ...]) -> ParsedBlock:
    """Parse line by line, with the reason of each malformed row."""
    pixels: list[list[int]] = []
    labels: list[int] = []
    usages: list[str] = []
    rows: list[int] = []
    bad_rows: list[BadRow] = []
    row = -1
    lines = block.split(b"\n")[:-1]
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        row += 1
        try:
            text, label, usage = read_row(line, columns)
            pixels.append(_pixels(text))
        except RowError as error:
            bad_rows.append(BadRow(row, number, str(error)))
            continue
        labels.append(label)
        usages.append(usage)
        rows.append(row)
    array = np.array(pixels, np.uint8).reshape(-1, IMAGE_PIXELS)
    return ParsedBlock(array, labels, usages, np.array(rows, np.int64), bad_rows, row + 1, len(lines))


def read_row(line: bytes, columns: tuple[str, ...]) -> tuple[str, int, str]:
    """Return a row's pixels as text, its label and its usage; raise RowError for a malformed row."""
    cells = split_cells(line)
    if len(cells) != len(columns):
        raise RowError(f"expected {len(columns)} columns, found {len(cells)}")
    row = dict(zip(columns, cells, strict=True))
    return row["pixels"], _label(row.get("emotion")), _usage(row.get("usage"))


def split_cells(line: bytes) -> list[str]:
    """Return the cells of one line, stripped."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError(f"expected text, found {shorten(line)}") from error
    try:
        cells = next(csv.reader([text.rstrip("\r\n")], strict=True), []) or [""]  # csv reads an empty line as no cells
    except csv.Error as error:
        raise RowError(f"expected comma-separated values ({error})") from error
    return [cell.strip() for cell in cells]


def _label(text: str | None) -> int:
    if text is None:
        return NO_LABEL
    if text not in _LABELS_BY_TEXT:
        raise RowError(f"expected an emotion from 0 to {len(CLASSES) - 1}, found {shorten(text)}")
    return _LABELS_BY_TEXT[text]


def _usage(text: str | None) -> str:
    if text is None:
        return ""
    usage = parse_split_name(text)
    if usage is None:
        raise RowError(f"expected a Usage of Training, PublicTest or PrivateTest, found {shorten(text)}")
    return usage


def _pixels(text: str) -> list[int]:
    tokens = text.split()
    if len(tokens) != IMAGE_PIXELS:
        raise RowError(f"expected {IMAGE_PIXELS} pixels, found {len(tokens)}")
    return [_pixel(token) for token in tokens]


def _pixel(token: str) -> int:
    # int() would also accept "+7", "1_0" and non-ASCII digits, and refuses over 4300 digits
    if token.isascii() and token.isdigit() and len(token) < 10 and (value := int(token)) < 256:
        return value
    raise RowError(f"expected pixels from 0 to 255, found {shorten(token)}")


def shorten(value: str | bytes, length: int = 20) -> str:
    """Return the repr of a value, truncated for an error message."""
    return repr(value if len(value) <= length else value[:length]) + "..." * (len(value) > length)
