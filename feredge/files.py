"""Writing files so that a crash, a full disk or a second process never leaves half of one.

The Predictor imports this module, so what only writing needs is imported where it is used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feredge.errors import RunError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; what is written there takes its place when the block succeeds.

    The temporary name keeps the suffix, because many writers choose a format by it. On an error the
    temporary file is removed and whatever stood at `path` stays.

    Raises:
        RunError: as `check_target`.
    """
    import tempfile

    check_target(path)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.stem}.", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files private; these are ordinary ones
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


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
    """Remove the temporary files that killed writers of `path` left. Call it where no other writer can be at work."""
    import glob

    target = Path(path)
    for left in target.parent.glob(f".{glob.escape(target.stem)}.????????{glob.escape(target.suffix)}"):
        left.unlink(missing_ok=True)


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


def read_npz(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz file by name; nothing is unpickled.

    Raises:
        Exception: of zipfile and numpy, a dozen kinds for a dozen kinds of damage.
        ValueError: a member is no array; numpy gives the bytes of such a one.
    """
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
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
