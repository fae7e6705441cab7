"""Atomic file writes: a crash, a full disk or a second process never leaves a partial file.

The Predictor imports this module, so imports that only writing needs are local.
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

_cleaned_targets: set[Path] = set()
"""Targets whose leftovers this process has removed already: once is enough for a file that is written each second."""


@contextmanager
def replacing(path: str | os.PathLike[str], *, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; the file written there replaces `path` if the block succeeds.

    The temporary name keeps the suffix, because many writers choose a format by it. On an error the temporary file is
    removed, and `path` is unchanged. A temporary file of a killed process is removed by the next writer of `path`. The
    file's mode is that of the process's umask, or 0600 if `private`.

    Raises:
        RunError: as `check_target`.
    """
    check_target(path)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target not in _cleaned_targets:
        remove_leftovers(target)
        _cleaned_targets.add(target)
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


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Create a folder and its parents, if there is none; on an error remove the folder again if it is empty."""
    existed = path.is_dir()
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if not existed:
            with suppress(OSError):  # it holds something
                path.rmdir()
        raise


def _temporary(target: Path, mode: int) -> tuple[Path, int | None]:
    """Create a temporary file for `target`; return it and the handle that locks it, None on Windows.

    The umask is applied by `os.open`: reading it would require changing it, for all threads.
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
        os.close(handle)  # removed by `remove_leftovers` between the two calls


def lock(handle: int, path: Path) -> bool | None:
    """Lock the open file at `path` until it is closed or the process dies.

    Returns:
        False if another process holds the lock, or has removed the file since it was opened; None if the system or
        file system has no such locks (as on Windows).
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


def ownership_problem(status: os.stat_result) -> str | None:
    """Return why a file is not a regular file of this user with a single link; None if it is.

    On Windows only the file type is checked: files have no such owner, and links need privileges.
    """
    if stat.S_ISLNK(status.st_mode):
        return "a link"
    if not stat.S_ISREG(status.st_mode):
        return "no regular file"
    if os.name != "nt" and status.st_uid != os.geteuid():
        return "another user's file"
    return "a file with a second name (a hard link)" if status.st_nlink > 1 else None


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise RunError if `path` exists and is not a regular file, such as a folder or a device."""
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - Path raises for a name that is too long
        kind = "a folder" if Path(path).is_dir() else "something else"
        raise RunError(f"{path}: expected a file, or nothing there, found {kind}")


def same_file(path: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Return whether both paths are the same file; False if one does not exist or is no path."""
    try:
        return Path(path).samefile(other)
    except (OSError, ValueError):
        return False


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files of killed writers of `path`; those of running writers are locked, and stay.

    Without file locks nothing is removed.
    """
    import re

    target = Path(path)
    name = re.compile(rf"\.{re.escape(target.stem)}\.[0-9a-f]{{8}}{re.escape(target.suffix)}")
    try:
        with os.scandir(target.parent) as entries:
            leftovers = [Path(entry.path) for entry in entries if name.fullmatch(entry.name)]
    except OSError:  # no such folder, or no permission to list it
        return
    for leftover in leftovers:
        with suppress(OSError):
            if ownership_problem(leftover.lstat()):
                continue
            handle = os.open(leftover, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            try:
                if not ownership_problem(os.fstat(handle)) and lock(handle, leftover):
                    leftover.unlink()
            finally:
                os.close(handle)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 to `path` atomically."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON to `path` atomically. NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_npz(source: str | os.PathLike[str] | BinaryIO) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz file, given as a path or an open binary file, by name; nothing is unpickled.

    Raises:
        Exception: a damaged file; zipfile and numpy raise a dozen types.
        ValueError: a member is no array; numpy returns the bytes of such a member.
    """
    import numpy as np

    with np.load(source, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, value in arrays.items():
        if not isinstance(value, np.ndarray):
            raise ValueError(f"{name} is no array")
    return arrays


LFS_POINTER = b"version https://git-lfs.github.com/spec/"
LFS_ADVICE = "a pointer of Git LFS; `git lfs pull` downloads the file"


def is_lfs_pointer(start: bytes) -> bool:
    """Return whether a file that begins with `start` is Git LFS's pointer to a file that was not downloaded."""
    return start.startswith(LFS_POINTER)


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    import hashlib

    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
