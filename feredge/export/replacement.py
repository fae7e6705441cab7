"""A new export takes the place of the old one, whole: by two renames, and nothing verified is lost.

The new folder is written beside the old one, its manifest last. A process that is killed before the first rename
leaves the old folder as it was; one that is killed between both leaves no folder under that name, until whoever reads
it next renames the new one (`artifact.finish_swap`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from feredge.inference.artifact import (
    FORMAT_PRECISIONS,
    MANIFEST_FILE,
    OPERATORS_FILE,
    PREVIOUS_SUFFIX,
    PROBES_FILE,
    RUNTIMES_FILE,
    finish_swap,
    unfinished_folder,
)

REMOVED = ".removed"  # suffix of a folder on its way out
REWRITTEN = (MANIFEST_FILE, RUNTIMES_FILE, OPERATORS_FILE, PROBES_FILE)


def begin(folder: Path) -> Path:
    """Return an empty folder in which to write what will take the place of `folder`.

    What a killed export left is removed. The caller keeps other exports away.
    """
    finish_swap(folder)
    new = unfinished_folder(folder)
    for leftover in (new, folder.with_name(folder.name + REMOVED)):
        _delete(leftover)
    new.mkdir(parents=True)
    return new


def abandon(folder: Path) -> None:
    """Remove what was written to take the place of `folder`, which stays as it is."""
    _delete(unfinished_folder(folder))


def carry_over(folder: Path) -> None:
    """Copy into the new folder what no export writes: tables of layers, and what users put beside the files."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        target = unfinished_folder(folder) / path.name
        if path.name in REWRITTEN or path.suffix[1:] in FORMAT_PRECISIONS:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, target, symlinks=True)
        else:
            shutil.copy2(path, target, follow_symlinks=False)


def swap(folder: Path) -> None:
    """Let the complete new folder take the place of `folder`.

    Of the folders of earlier exports those remain that hold a file whose name neither the new one nor a later one has:
    `artifacts.previous`, and with a number behind it where several do. The others are removed.
    """
    if folder.exists() or folder.is_symlink():
        folder.rename(_free_name(folder))
    finish_swap(folder)
    known = _models(folder)
    for old in reversed(_previous(folder)):
        models = _models(old)
        if models <= known:
            _remove(old, folder)
        known |= models


def remaining(folder: Path) -> list[tuple[Path, list[str]]]:
    """Return the folders of earlier exports, and in alphabetical order the files of each that `folder` has not."""
    return [(old, sorted(_models(old) - _models(folder))) for old in _previous(folder)]


def _models(folder: Path) -> set[str]:
    return {
        path.name for kind in FORMAT_PRECISIONS for path in folder.glob(f"*.{kind}") if not path.name.startswith(".")
    }  # hidden ones are unfinished


def _previous(folder: Path) -> list[Path]:
    """Return the folders of earlier exports, the oldest first."""
    first = folder.with_name(folder.name + PREVIOUS_SUFFIX)
    numbers = [
        (int(number), path)
        for path in folder.parent.glob("*")
        if (number := path.name.removeprefix(first.name + "-")).isdecimal() and path.is_dir()
    ]
    return ([first] if first.exists() else []) + [path for _, path in sorted(numbers)]


def _free_name(folder: Path) -> Path:
    """Return PREVIOUS_SUFFIX, or the number after the last that is taken: the order tells which is older."""
    standing = _previous(folder)
    first = folder.with_name(folder.name + PREVIOUS_SUFFIX)
    if not standing:
        return first
    last = standing[-1].name.removeprefix(first.name).lstrip("-")
    return first.with_name(f"{first.name}-{int(last or 1) + 1}")


def _remove(old: Path, folder: Path) -> None:
    """Remove a folder under another name: half of one must not pass for an export."""
    leaving = folder.with_name(folder.name + REMOVED)
    _delete(leaving)
    old.rename(leaving)
    _delete(leaving)


def _delete(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
