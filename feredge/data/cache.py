"""Keep parsed csv files under the user's cache folder, by the digest of the file they were parsed from."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from feredge import files
from feredge.contract import CLASSES
from feredge.data.csv_rows import SIDE
from feredge.data.dataset import NO_LABEL
from feredge.data.kaggle import Table

VERSION = 1
"""Part of the file's name: raised when a Table, or how one is read, changes."""


def folder() -> Path:
    """Return where parsed copies are: FEREDGE_CACHE, else `feredge` in XDG_CACHE_HOME, else in ~/.cache."""
    if own := os.environ.get("FEREDGE_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "feredge"


def fetch(digest: str) -> Table | None:
    """Return the copy of the file with this SHA-256; None when there is none, or it is damaged."""
    try:
        arrays = files.read_npz(_path(digest))
        rows = arrays["rows"]
        table = Table(arrays["images"], arrays["labels"], arrays["usage"], rows, digest, len(rows))
    except Exception:  # a damaged zip archive raises all kinds of errors, and for all the answer is to parse again
        return None
    return table if _fits(table) else None


def store(table: Table) -> None:
    """Keep a table without bad rows, which would have to be counted or refused again.

    A cache that cannot be written (no such place, no rights, a full disk) is gone without.
    """
    if table.total != len(table.rows):
        return
    with suppress(OSError, RuntimeError):
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)  # pictures of people are nobody else's to read
    with suppress(OSError, RuntimeError), files.replacing(_path(table.digest)) as temporary:
        np.savez(temporary, images=table.images, labels=table.labels, usage=table.usage, rows=table.rows)


def _path(digest: str) -> Path:
    return folder() / f"{digest}.{VERSION}.npz"


def _fits(table: Table) -> bool:
    """The archive's checksums vouch for the bytes; this, for what another program may have put there."""
    count = len(table.rows)
    kinds = [array.dtype.kind + str(array.dtype.itemsize) for array in (table.images, table.labels, table.rows)]
    return (
        kinds == ["u1", "i1", "i8"]
        and table.usage.dtype.kind == "U"
        and table.images.shape == (count, SIDE, SIDE)
        and table.labels.shape == table.usage.shape == (count,)
        and count > 0
        and NO_LABEL <= table.labels.min() <= table.labels.max() < len(CLASSES)
    )
