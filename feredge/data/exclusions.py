"""Exclude rows from training and validation whose pictures an external test set has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from feredge.data.dataset import Dataset
from feredge.errors import DataError

MAX_ROW_DIGITS = 18
"""Digits of the longest number that an int64 holds in any case."""


def read_row_numbers(path: Path) -> list[int]:
    """Return the row numbers in a text file, ascending: one a line, 0-based; `#` begins a comment.

    Raises:
        DataError: no such file, or a line that is not a number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: expected a text of row numbers, cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected a text of row numbers, cannot be read ({error})") from error
    rows = set()
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if text and not (text.isascii() and text.isdigit() and len(text) <= MAX_ROW_DIGITS):
            raise DataError(f"{path}: line {number}: expected a row number from 0, found {text[:40]!r}")
        if text:
            rows.add(int(text))
    return sorted(rows)


def exclude_rows(dataset: Dataset, rows: Sequence[int]) -> Dataset:
    """Return `dataset` with `rows` added to those excluded from training and validation; a test split keeps them.

    Raises:
        DataError: a row that the data set does not have, or a value that is not an integer.
    """
    try:
        excluded = np.array(rows, np.int64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{dataset.source}: expected numbers of rows to exclude, found {rows!r:.80}") from error
    missing = excluded[~np.isin(excluded, dataset.rows)]
    if len(missing):
        raise DataError(f"{dataset.source}: expected row {missing[0]} to exclude, found {len(dataset):,} rows")
    if dataset.excluded_rows is not None:
        excluded = np.union1d(dataset.excluded_rows, excluded)
    return replace(dataset, excluded_rows=excluded)
