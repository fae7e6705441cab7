"""Replacing the folder of an export by a new one with two renames, so that no verified file is lost.

The new folder is written next to the old one, its manifest last. A process that is killed before the first rename
leaves the old folder unchanged. One that is killed between both renames leaves no folder under that name; the next
reader renames the new one (`artifact.complete_interrupted_replacement`).
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
    complete_interrupted_replacement,
    unfinished_folder,
)

REMOVAL_SUFFIX = ".removed"  # of a folder that is being deleted
METADATA_FILES = (MANIFEST_FILE, RUNTIMES_FILE, OPERATORS_FILE, PROBES_FILE)


def new_folder(folder: Path) -> Path:
    """Return an empty folder that `swap` will put in the place of `folder`.

    Leftovers of a killed export are removed. The caller holds the lock against other exports.
    """
    complete_interrupted_replacement(folder)
    new = unfinished_folder(folder)
    for leftover in (new, folder.with_name(folder.name + REMOVAL_SUFFIX)):
        _delete(leftover)
    new.mkdir(parents=True)
    return new


def discard(folder: Path) -> None:
    """Remove the new folder; `folder` stays as it is."""
    _delete(unfinished_folder(folder))


def copy_other_files(folder: Path) -> None:
    """Copy the files that no export writes into the new folder: tables of layers, and users' own files."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        target = unfinished_folder(folder) / path.name
        if path.name in METADATA_FILES or path.suffix[1:] in FORMAT_PRECISIONS or _is_header(path):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, target, symlinks=True)
        else:
            shutil.copy2(path, target, follow_symlinks=False)


def _is_header(path: Path) -> bool:
    """Return whether a file is the header of a C library beside it, which is written with that."""
    return path.suffix == ".h" and path.with_suffix(".c").exists()


def swap(folder: Path) -> None:
    """Replace `folder` by the complete new folder.

    Folders of earlier exports are kept while they hold a file name that no later export has:
    `artifacts.previous`, further ones with a number appended. The others are removed.
    """
    if folder.exists() or folder.is_symlink():
        folder.rename(_unused_previous_name(folder))
    complete_interrupted_replacement(folder)
    later_names = _model_names(folder)
    for previous in reversed(_previous_folders(folder)):
        names = _model_names(previous)
        if names <= later_names:
            _remove(previous, folder)
        later_names |= names


def previous_exports(folder: Path) -> list[tuple[Path, list[str]]]:
    """Return the folders of earlier exports, each with the sorted names of its files that `folder` does not have."""
    return [(old, sorted(_model_names(old) - _model_names(folder))) for old in _previous_folders(folder)]


def _model_names(folder: Path) -> set[str]:
    paths = [path for suffix in FORMAT_PRECISIONS for path in folder.glob(f"*.{suffix}")]
    return {path.name for path in paths if not path.name.startswith(".")}  # hidden files are incomplete


def _previous_folders(folder: Path) -> list[Path]:
    """Return the folders of earlier exports, the oldest first."""
    first = folder.with_name(folder.name + PREVIOUS_SUFFIX)
    numbers = [
        (int(number), path)
        for path in folder.parent.glob("*")
        if (number := path.name.removeprefix(first.name + "-")).isdecimal() and path.is_dir()
    ]
    return ([first] if first.exists() else []) + [path for _, path in sorted(numbers)]


def _unused_previous_name(folder: Path) -> Path:
    """Return the path of PREVIOUS_SUFFIX, numbered one above the last that exists: numbers order the folders by age."""
    existing = _previous_folders(folder)
    first = folder.with_name(folder.name + PREVIOUS_SUFFIX)
    if not existing:
        return first
    last = existing[-1].name.removeprefix(first.name).lstrip("-")
    return first.with_name(f"{first.name}-{int(last or 1) + 1}")


def _remove(old: Path, folder: Path) -> None:
    """Rename a folder, then remove it: a partly removed folder must not be read as an export."""
    renamed = folder.with_name(folder.name + REMOVAL_SUFFIX)
    _delete(renamed)
    old.rename(renamed)
    _delete(renamed)


def _delete(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
