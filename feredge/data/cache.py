"""On-disk cache of parsed csv files, keyed by the SHA-256 of the file they were parsed from."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from feredge import files
from feredge.data.csv_rows import IMAGE_SIDE
from feredge.data.dataset import NO_LABEL
from feredge.data.fer2013_csv import CsvTable
from feredge.errors import RunError
from feredge.inference.contract import CLASSES

CACHE_VERSION = 1
"""Part of a cached file's name; incremented when CsvTable or the parsing changes."""


def cache_folder() -> Path:
    """Return the cache folder: FEREDGE_CACHE, else the platform's cache folder of this user.

    Raises:
        ModuleNotFoundError: platformdirs, of the extra `workshop`, is not installed.
    """
    if configured := os.environ.get("FEREDGE_CACHE"):
        return Path(configured)
    from platformdirs import user_cache_path

    return user_cache_path("feredge", appauthor=False)


def make_cache_folder() -> Path:
    """Return `cache_folder()`, created with mode 700 if missing: it holds images of people, and code that is run.

    On Windows the access list of the user's profile protects it; file modes do not exist there.

    Raises:
        RunError: the folder belongs to another user, or others may open it.
        OSError: the folder cannot be created.
    """
    path = cache_folder()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_private(path)
    return path


def fetch(digest: str) -> CsvTable | None:
    """Return the cached table of the file with this SHA-256; None if there is none, or it is damaged or not private.

    Raises:
        RunError: as `make_cache_folder`.
    """
    with suppress(OSError, RuntimeError, ImportError):
        _check_private(cache_folder())
    try:
        with _open_private(_table_path(digest)) as file:
            arrays = files.read_npz(file)
        rows = arrays["rows"]
        table = CsvTable(arrays["images"], arrays["labels"], arrays["usage"], rows, digest, len(rows))
    except Exception:  # a damaged zip archive raises many kinds of errors; after any of them the csv is parsed again
        return None
    return table if _is_valid(table) else None


def store(table: CsvTable) -> None:
    """Write a table to the cache, unless it has bad rows: those are reported on every load.

    A cache that cannot be written (missing path, no permission, full disk) is ignored.

    Raises:
        RunError: as `make_cache_folder`.
    """
    if table.total != len(table.rows):
        return
    with suppress(OSError, RuntimeError, ImportError):
        make_cache_folder()
        with files.replacing(_table_path(table.digest), private=True) as temporary:
            np.savez(temporary, images=table.images, labels=table.labels, usage=table.usage, rows=table.rows)


def _check_private(path: Path) -> None:
    """Raise RunError unless this user alone owns and may open the folder."""
    status = path.stat()
    if os.name == "nt" or not stat.S_ISDIR(status.st_mode):
        return
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        problem = "another user's"
    elif mode & 0o077:
        problem = f"mode {mode:03o}"
    else:
        return
    raise RunError(
        f"{path}: expected a cache folder of your own with mode 700, found {problem}; "
        f"change it, or name another in FEREDGE_CACHE"
    )


def _open_private(path: Path) -> BinaryIO:
    """Open a private file of this user; raise OSError for any other, or for a symbolic link."""
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # not every platform has all three
        flags |= getattr(os, name, 0)
    handle = os.open(path, flags)
    status = os.fstat(handle)
    if files.ownership_problem(status) or (os.name != "nt" and status.st_mode & 0o077):
        os.close(handle)
        raise PermissionError(path)
    return os.fdopen(handle, "rb")


def _table_path(digest: str) -> Path:
    return cache_folder() / f"{digest}.{CACHE_VERSION}.npz"


def _is_valid(table: CsvTable) -> bool:
    """Check dtypes, shapes and label range: the archive's checksums do not detect content of another program."""
    count = len(table.rows)
    dtypes = [array.dtype.kind + str(array.dtype.itemsize) for array in (table.images, table.labels, table.rows)]
    return (
        dtypes == ["u1", "i1", "i8"]
        and table.usage.dtype.kind == "U"
        and table.images.shape == (count, IMAGE_SIDE, IMAGE_SIDE)
        and table.labels.shape == table.usage.shape == (count,)
        and count > 0
        and NO_LABEL <= table.labels.min() <= table.labels.max() < len(CLASSES)
    )
