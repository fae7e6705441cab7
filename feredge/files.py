"""Writing files so that a crash, a full disk or a second process never leaves half of one.

The Predictor imports this module, so what only writing needs is imported where it is used.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from feredge.errors import RunError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_swept: set[Path] = set()
"""Targets whose killed writers this process has cleaned up after: a note that is written each second looks once."""


@contextmanager
def replacing(path: str | os.PathLike[str], *, private: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`; what is written there takes its place when the block succeeds.

    The temporary name keeps the suffix, because many writers choose a format by it. On an error the
    temporary file is removed and whatever stood at `path` stays. A temporary file that a killed process left is
    removed by the next writer of `path`. The file is an ordinary one by the process's umask, or, where `private`,
    this user's alone.

    Raises:
        RunError: as `check_target`.
    """
    check_target(path)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target not in _swept:
        sweep(target)
        _swept.add(target)
    temporary, handle = _temporary(target, 0o600 if private else 0o666)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


def _temporary(target: Path, mode: int) -> tuple[Path, int | None]:
    """Create a new file beside `target`; return it and the handle that locks it, None on Windows.

    The system applies the umask: reading it would mean to change it, for all threads.
    """
    import secrets

    while True:
        path = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
        except FileExistsError:
            continue
        if os.name == "nt":  # an open file can be neither replaced nor removed there
            os.close(handle)
            return path, None
        if lock(handle, path) is not False:
            return path, handle
        os.close(handle)  # taken between the two calls by a sweep, which removes it


def lock(handle: int, path: Path) -> bool | None:
    """Lock the open file at `path` until it is closed, or its process dies.

    Returns:
        False where another process holds it, or has removed it since it was opened; None where the system or the
        file system has no locks (Windows has none of this kind).
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), path.lstat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:
        return None


def not_own(status: os.stat_result) -> str | None:
    """Return what an opened or looked at file is, unless a regular file of this user's with one name: then None.

    On Windows files have no such owner, and links need rights that users lack; there only the kind is looked at.
    """
    if stat.S_ISLNK(status.st_mode):
        return "a link"
    if not stat.S_ISREG(status.st_mode):
        return "no regular file"
    if os.name != "nt" and status.st_uid != os.geteuid():
        return "another user's file"
    return "a file with a second name (a hard link)" if status.st_nlink > 1 else None


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise RunError where something else than a file stands: a folder, or a device that a file would replace."""
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - a Path raises for too long a name
        found = "a folder" if Path(path).is_dir() else "something else"
        raise RunError(f"{path}: expected a file, or nothing there, found {found}")


def same(path: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Return whether both are one file; of what does not exist, or is no path at all, False."""
    try:
        return Path(path).samefile(other)
    except (OSError, ValueError):
        return False


def sweep(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed writers of `path` left; one whose writer lives is locked, and stays.

    Where there are no locks nothing is removed.
    """
    import re

    target = Path(path)
    name = re.compile(rf"\.{re.escape(target.stem)}\.[0-9a-f]{{8}}{re.escape(target.suffix)}")
    try:
        with os.scandir(target.parent) as entries:
            left = [Path(entry.path) for entry in entries if name.fullmatch(entry.name)]
    except OSError:  # no such folder, or one that may be written into and not listed
        return
    for one in left:
        with suppress(OSError):
            if not_own(one.lstat()):
                continue
            handle = os.open(one, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            try:
                if not not_own(os.fstat(handle)) and lock(handle, one):
                    one.unlink()
            finally:
                os.close(handle)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all. NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_npz(source: str | os.PathLike[str] | BinaryIO) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz file, or of one that is open for reading bytes, by name; nothing is unpickled.

    Raises:
        Exception: of zipfile and numpy, a dozen kinds for a dozen kinds of damage.
        ValueError: a member is no array; numpy gives the bytes of such a one.
    """
    import numpy as np

    with np.load(source, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, value in arrays.items():
        if not isinstance(value, np.ndarray):
            raise ValueError(f"{name} is no array")
    return arrays


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    import hashlib

    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
