"""Reader of FER+ votes (Barsoum et al., 2016): ten annotators' labels of each FER2013 image."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge.data.split_names import parse_split_name
from feredge.errors import DataError
from feredge.files import LFS_ADVICE, is_lfs_pointer

VOTE_COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
"""Names of the vote columns, in the order of `Dataset.votes`; NF is "not a face"."""
VOTERS_PER_IMAGE = 10


def read_votes(path: Path) -> tuple[NDArray[np.uint8], list[str]]:
    """Read `fer2013new.csv`: `Usage,Image name,neutral,happiness,...,NF`, one row for each row of fer2013.csv.

    Returns:
        `uint8 (rows, 10)`, the number of votes, and each row's usage (empty without a `Usage` column).

    Raises:
        DataError: not such a file; a malformed row is named, counted from 1 below the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(csv.DictReader(file, strict=True), path)
    except OSError as error:
        raise DataError(f"{path}: expected a csv of votes, cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a csv of votes, found something else ({error})") from error


def _read(table: csv.DictReader[str], path: Path) -> tuple[NDArray[np.uint8], list[str]]:
    names = [name.strip().lower() for name in table.fieldnames or ()]
    if names and is_lfs_pointer(names[0].encode()):
        raise DataError(f"{path}: expected a csv of votes, found {LFS_ADVICE}")
    missing = [vote for vote in VOTE_COLUMNS if vote.lower() not in names]
    if missing:
        header = ",".join(names)[:60] or "an empty file"
        raise DataError(f"{path}: expected a header with {','.join(VOTE_COLUMNS)}, found {header!r}")
    table.fieldnames = names
    votes: list[list[int]] = []
    usage: list[str] = []
    for number, row in enumerate(table, 1):
        votes.append([_parse_count(row[vote.lower()], f"{path}: row {number}") for vote in VOTE_COLUMNS])
        usage.append(parse_split_name(row.get("usage") or "") or "")
    if not votes:
        raise DataError(f"{path}: expected rows of votes below the header, found none")
    return np.array(votes, np.uint8), usage


def _parse_count(text: str | None, position: str) -> int:
    text = (text or "").strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 2 or int(text) > VOTERS_PER_IMAGE:
        raise DataError(f"{position}: expected votes from 0 to {VOTERS_PER_IMAGE}, found {text[:20]!r}")
    return int(text)
