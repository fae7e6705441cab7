"""Rows that neither train nor choose, because their pictures stand in a test set that is not at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from feredge.data.dataset import Dataset
from feredge.errors import DataError

LONGEST = 19
"""Digits of a number that may be more than an int64 holds."""


def read_rows(path: Path) -> list[int]:
    """Return the row numbers in a text file, ascending: one a line, from 0; `#` begins a remark.

    Raises:
        DataError: no such file, or a line that is no number.
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
        if text and not (text.isascii() and text.isdigit() and len(text) < LONGEST):
            raise DataError(f"{path}: line {number}: expected a row number from 0, found {text[:40]!r}")
        if text:
            rows.add(int(text))
    return sorted(rows)


def hold_back(dataset: Dataset, rows: Sequence[int]) -> Dataset:
    """Return `dataset` with `rows` held back too from training and validation; a test split keeps them.

    Raises:
        DataError: a row that it does not have, or what is no list of numbers.
    """
    try:
        held = np.array(rows, np.int64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{dataset.source}: expected numbers of rows to leave out, found {rows!r:.80}") from error
    missing = held[~np.isin(held, dataset.rows)]
    if len(missing):
        raise DataError(f"{dataset.source}: expected row {missing[0]} to leave out, found {len(dataset):,} rows")
    if dataset.held_back is not None:
        held = np.union1d(dataset.held_back, held)
    return replace(dataset, held_back=held)
