"""Keep parsed csv files under the user's cache folder, by the digest of the file they were parsed from."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from feredge import files
from feredge.data.csv_rows import SIDE
from feredge.data.dataset import NO_LABEL
from feredge.data.kaggle import Table
from feredge.errors import RunError
from feredge.inference.contract import CLASSES

VERSION = 1
"""Part of the file's name: raised when a Table, or how one is read, changes."""


def folder() -> Path:
    """Return where parsed copies are: FEREDGE_CACHE, else feredge's place among the system's caches for this user.

    Raises:
        ModuleNotFoundError: platformdirs, of the extra `workshop`, is not installed.
    """
    if own := os.environ.get("FEREDGE_CACHE"):
        return Path(own)
    from platformdirs import user_cache_path

    return user_cache_path("feredge", appauthor=False)


def own_folder() -> Path:
    """Return `folder()`, made where it is missing: pictures of people, and what is run, are nobody else's to touch.

    On Windows the folder lies in the user's profile, whose access list does this; modes do not exist there.

    Raises:
        RunError: another user's folder, or one that others may open.
        OSError: a place where no folder can be made.
    """
    place = folder()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check(place)
    return place


def fetch(digest: str) -> Table | None:
    """Return the copy of the file with this SHA-256; None when there is none of this user's, or it is damaged.

    Raises:
        RunError: as `own_folder`.
    """
    with suppress(OSError, RuntimeError, ImportError):
        _check(folder())
    try:
        with _open(_path(digest)) as file:
            arrays = files.read_npz(file)
        rows = arrays["rows"]
        table = Table(arrays["images"], arrays["labels"], arrays["usage"], rows, digest, len(rows))
    except Exception:  # a damaged zip archive raises all kinds of errors, and for all the answer is to parse again
        return None
    return table if _fits(table) else None


def store(table: Table) -> None:
    """Keep a table without bad rows, which would have to be counted or refused again.

    A cache that cannot be written (no such place, no rights, a full disk) is gone without.

    Raises:
        RunError: as `own_folder`.
    """
    if table.total != len(table.rows):
        return
    with suppress(OSError, RuntimeError, ImportError):
        own_folder()
        with files.replacing(_path(table.digest), private=True) as temporary:
            np.savez(temporary, images=table.images, labels=table.labels, usage=table.usage, rows=table.rows)


def _check(place: Path) -> None:
    """Raise RunError for a folder that is not this user's alone."""
    status = place.stat()
    if os.name == "nt" or not stat.S_ISDIR(status.st_mode):
        return
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        found = "another user's"
    elif mode & 0o077:
        found = f"mode {mode:03o}"
    else:
        return
    raise RunError(
        f"{place}: expected a cache folder of your own with mode 700, found {found}; "
        f"change it, or name another in FEREDGE_CACHE"
    )


def _open(path: Path) -> BinaryIO:
    """Open a copy that is this user's alone; raise OSError for any other file, without following a link."""
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # each is missing on some system
        flags |= getattr(os, name, 0)
    handle = os.open(path, flags)
    status = os.fstat(handle)
    if files.ownership_problem(status) or (os.name != "nt" and status.st_mode & 0o077):
        os.close(handle)
        raise PermissionError(path)
    return os.fdopen(handle, "rb")


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
