"""Collects picture paths from files, folders and lists, and counts the other files in folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from feredge.errors import PictureError
from feredge.inference.picture_formats import PICTURE_SUFFIXES

MAX_SHOWN_SUFFIXES = 5  # of skipped files


def list_pictures(
    paths: Iterable[str | os.PathLike[str]],
    *,
    lists: Iterable[Path] = (),
    exclude: Path | None = None,
    skipped: Counter[str] | None = None,
) -> list[str]:
    """Return all picture paths in a fixed order: first from `paths`, then from `lists`.

    Args:
        paths: picture files with any suffix; and folders, searched recursively for PICTURE_SUFFIXES, sorted by name.
            Symbolic links to folders are followed, but no folder is visited twice.
        lists: text files with one path per line; empty lines are ignored. Relative paths start from the list's folder.
        exclude: a folder that is not searched.
        skipped: counts the other files in folders by suffix, and repeated links to folders. Hidden files are not
            counted.

    Raises:
        PictureError: a path or list that does not exist, or no picture at all.
    """
    pictures: list[str] = []
    sources, lists = [os.fspath(path) for path in paths], list(lists)
    excluded = exclude and exclude.resolve()
    counts = Counter[str]() if skipped is None else skipped
    for path in sources:
        if os.path.isdir(path):  # noqa: PTH112 - creating a Path costs more than everything else here
            parents = {(status.st_dev, status.st_ino) for status in map(os.stat, Path(path).resolve().parents)}
            pictures += _walk(path, excluded, parents, counts)
        elif os.path.exists(path):  # noqa: PTH110
            pictures.append(path)
        else:
            raise PictureError(f"{path}: expected a picture or a folder of pictures, found nothing")
    for list_path in lists:
        pictures += _read_list(list_path)
    if not pictures:
        all_sources = ", ".join([*sources, *map(str, lists)]) or "no path"
        raise PictureError(f"{all_sources}: expected pictures ({', '.join(sorted(PICTURE_SUFFIXES))}), found none")
    return pictures


def describe_skipped(skipped: Counter[str]) -> str:
    """Return the counts of skipped files as one line, empty if there are none."""
    parts = [f"{count:,} {suffix}" for suffix, count in skipped.most_common(MAX_SHOWN_SUFFIXES)]
    if rest := skipped.total() - sum(count for _, count in skipped.most_common(MAX_SHOWN_SUFFIXES)):
        parts.append(f"{rest:,} others")
    return f"skipped: {', '.join(parts)}" if parts else ""


def _walk(folder: str, excluded: Path | None, visited: set[tuple[int, int]], skipped: Counter[str]) -> Iterator[str]:
    try:
        status = os.stat(folder)  # noqa: PTH116
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise PictureError(f"{folder}: cannot be read ({error.strerror})") from error
    visited.add((status.st_dev, status.st_ino))
    for entry in entries:
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
        if entry.is_dir():
            if entry.is_symlink() and (entry.stat().st_dev, entry.stat().st_ino) in visited:
                skipped["repeated links to folders"] += 1
            elif excluded is None or Path(entry.path).resolve() != excluded:
                yield from _walk(entry.path, excluded, visited, skipped)
        elif suffix in PICTURE_SUFFIXES:
            yield entry.path
        elif not entry.name.startswith("."):
            skipped[suffix or "files without a suffix"] += 1


def _read_list(path: Path) -> list[str]:
    try:
        # surrogateescape: file names need not be UTF-8; utf-8-sig: files from Windows may begin with a BOM
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise PictureError(f"{path}: expected a list of pictures, cannot be read ({error.strerror})") from error
    return [os.path.join(path.parent, line.strip()) for line in lines if line.strip()]  # noqa: PTH118
