"""Rows of FER2013's csv, read one by one with the standard library: what the format is, and what breaks it."""

from __future__ import annotations

import csv
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import NO_LABEL
from feredge.data.usage import as_usage
from feredge.inference.contract import CLASSES, Images

SIDE = 48
"""Height and width of the csv's pictures."""
PIXELS = SIDE * SIDE
COLUMNS = ("emotion", "pixels", "usage", "id", "")
"""Known column names, in lower case; pandas leaves the name of its index empty."""

_LABELS = {str(label): label for label in range(len(CLASSES))}


class BadRow(Exception):
    """A row that breaks the format, and how."""


class Bad(NamedTuple):
    """A bad row's place in its block, both from 0, and what is wrong with it."""

    row: int
    line: int
    why: str


class Part(NamedTuple):
    """What one block of lines holds; rows and lines are counted from 0 inside the block."""

    pixels: Images
    labels: list[int]
    usage: list[str]
    rows: NDArray[np.int64]
    bad: list[Bad]
    row_count: int
    line_count: int


def parse_lines(block: bytes, columns: tuple[str, ...]) -> Part:
    """Parse line by line, and say of each bad row what is wrong with it."""
    pixels: list[list[int]] = []
    labels: list[int] = []
    usages: list[str] = []
    rows: list[int] = []
    bad: list[Bad] = []
    row = -1
    lines = block.split(b"\n")[:-1]
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        row += 1
        try:
            text, label, usage = read_row(line, columns)
            pixels.append(_pixels(text))
        except BadRow as error:
            bad.append(Bad(row, number, str(error)))
            continue
        labels.append(label)
        usages.append(usage)
        rows.append(row)
    array = np.array(pixels, np.uint8).reshape(-1, PIXELS)
    return Part(array, labels, usages, np.array(rows, np.int64), bad, row + 1, len(lines))


def read_row(line: bytes, columns: tuple[str, ...]) -> tuple[str, int, str]:
    """Return a row's pixels as text, its label and its usage; raise BadRow where they cannot be."""
    cells = split_cells(line)
    if len(cells) != len(columns):
        raise BadRow(f"expected {len(columns)} columns, found {len(cells)}")
    row = dict(zip(columns, cells, strict=True))
    return row["pixels"], _label(row.get("emotion")), _usage(row.get("usage"))


def split_cells(line: bytes) -> list[str]:
    """Return the cells of one line, without the spaces around them."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRow(f"expected text, found {shorten(line)}") from error
    try:
        cells = next(csv.reader([text.rstrip("\r\n")], strict=True), []) or [""]  # csv takes "" for no cell at all
    except csv.Error as error:
        raise BadRow(f"expected comma-separated values ({error})") from error
    return [cell.strip() for cell in cells]


def _label(text: str | None) -> int:
    if text is None:
        return NO_LABEL
    if text not in _LABELS:
        raise BadRow(f"expected an emotion from 0 to {len(CLASSES) - 1}, found {shorten(text)}")
    return _LABELS[text]


def _usage(text: str | None) -> str:
    if text is None:
        return ""
    usage = as_usage(text)
    if usage is None:
        raise BadRow(f"expected a Usage of Training, PublicTest or PrivateTest, found {shorten(text)}")
    return usage


def _pixels(text: str) -> list[int]:
    tokens = text.split()
    if len(tokens) != PIXELS:
        raise BadRow(f"expected {PIXELS} pixels, found {len(tokens)}")
    return [_pixel(token) for token in tokens]


def _pixel(token: str) -> int:
    # int() would also take "+7", "1_0" and other alphabets' digits, and refuses over 4300 of them
    if token.isascii() and token.isdigit() and len(token) < 10 and (value := int(token)) < 256:
        return value
    raise BadRow(f"expected pixels from 0 to 255, found {shorten(token)}")


def shorten(value: str | bytes, length: int = 20) -> str:
    """Return the start of something found, for an error message."""
    return repr(value if len(value) <= length else value[:length]) + "..." * (len(value) > length)
