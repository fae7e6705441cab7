"""Read the votes of FER+ (Barsoum et al., 2016): ten people's labels of each FER2013 picture."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge.data.usage import as_usage
from feredge.errors import DataError

VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
"""What a vote can be for, in the order of `Dataset.votes`; NF is "not a face"."""
VOTERS = 10


def read_votes(path: Path) -> tuple[NDArray[np.uint8], list[str]]:
    """Read `fer2013new.csv`: `Usage,Image name,neutral,happiness,...,NF`, one row for each row of fer2013.csv.

    Returns:
        `uint8 (rows, 10)`, the number of votes, and each row's usage (empty without a `Usage` column).

    Raises:
        DataError: not such a file; a bad row is named, counted from 1 below the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(csv.DictReader(file, strict=True), path)
    except OSError as error:
        raise DataError(f"{path}: expected a file of votes, cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a csv of votes, found something else ({error})") from error


def _read(table: csv.DictReader[str], path: Path) -> tuple[NDArray[np.uint8], list[str]]:
    names = [name.strip().lower() for name in table.fieldnames or ()]
    missing = [vote for vote in VOTES if vote.lower() not in names]
    if missing:
        found = ",".join(names)[:60] or "an empty file"
        raise DataError(f"{path}: expected a header with {','.join(VOTES)}, found {found!r}")
    table.fieldnames = names
    votes: list[list[int]] = []
    usage: list[str] = []
    for number, row in enumerate(table, 1):
        votes.append([_count(row[vote.lower()], f"{path}: row {number}") for vote in VOTES])
        usage.append(as_usage(row.get("usage") or "") or "")
    if not votes:
        raise DataError(f"{path}: expected rows of votes below the header, found none")
    return np.array(votes, np.uint8), usage


def _count(text: str | None, where: str) -> int:
    text = (text or "").strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 2 or int(text) > VOTERS:
        raise DataError(f"{where}: expected votes from 0 to {VOTERS}, found {text[:20]!r}")
    return int(text)
