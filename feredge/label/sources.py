"""Which pictures are meant: files, folders, lists; and what folders hold besides."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from feredge.errors import PictureError
from feredge.inference.picture_formats import PICTURE_SUFFIXES

MAX_NAMED_KINDS = 5  # of files left out


def list_pictures(
    paths: Iterable[str | os.PathLike[str]],
    *,
    lists: Iterable[Path] = (),
    without: Path | None = None,
    left_out: Counter[str] | None = None,
) -> list[str]:
    """Return the paths of all pictures meant, in a fixed order: first `paths` as given, then those in `lists`.

    Args:
        paths: picture files, taken whatever their name; and folders, whose pictures (PICTURE_SUFFIXES) are taken at
            any depth, sorted by name. Linked folders are followed; one that was walked before, or leads back, is not
            walked again.
        lists: text files of one path a line; empty lines are skipped. Paths that are not absolute start from the
            list's own folder.
        without: a folder that is not looked into where it lies inside one of `paths`.
        left_out: counts what folders hold besides, by suffix, and linked folders that were not walked again. Files
            of other kinds whose names begin with a dot are not counted.

    Raises:
        PictureError: a path or list that does not exist, or nothing found at all.
    """
    found: list[str] = []
    given, lists = [os.fspath(path) for path in paths], list(lists)
    own = without and without.resolve()
    counts = Counter[str]() if left_out is None else left_out
    for path in given:
        if os.path.isdir(path):  # noqa: PTH112 - a Path a picture costs more than everything else here
            above = {(status.st_dev, status.st_ino) for status in map(os.stat, Path(path).resolve().parents)}
            found += _walk(path, own, above, counts)
        elif os.path.exists(path):  # noqa: PTH110
            found.append(path)
        else:
            raise PictureError(f"{path}: expected a picture or a folder of pictures, found nothing")
    for one in lists:
        found += _read_list(one)
    if not found:
        places = ", ".join([*given, *map(str, lists)]) or "no path"
        raise PictureError(f"{places}: expected pictures ({', '.join(sorted(PICTURE_SUFFIXES))}), found none")
    return found


def describe_left_out(left_out: Counter[str]) -> str:
    """Return what was left out as one line, empty where nothing was."""
    parts = [f"{count:,} {kind}" for kind, count in left_out.most_common(MAX_NAMED_KINDS)]
    if others := left_out.total() - sum(count for _, count in left_out.most_common(MAX_NAMED_KINDS)):
        parts.append(f"{others:,} others")
    return f"left out: {', '.join(parts)}" if parts else ""


def _walk(folder: str, without: Path | None, walked: set[tuple[int, int]], left_out: Counter[str]) -> Iterator[str]:
    try:
        status = os.stat(folder)  # noqa: PTH116
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise PictureError(f"{folder}: cannot be read ({error.strerror})") from error
    walked.add((status.st_dev, status.st_ino))
    for entry in entries:
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
        if entry.is_dir():
            if entry.is_symlink() and (entry.stat().st_dev, entry.stat().st_ino) in walked:
                left_out["linked folders walked before"] += 1
            elif without is None or Path(entry.path).resolve() != without:
                yield from _walk(entry.path, without, walked, left_out)
        elif suffix in PICTURE_SUFFIXES:
            yield entry.path
        elif not entry.name.startswith("."):
            left_out[suffix or "files without a suffix"] += 1


def _read_list(path: Path) -> list[str]:
    try:
        # Names need not be text on every system; surrogates carry such bytes through. Windows begins files with a mark.
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise PictureError(f"{path}: expected a list of pictures, cannot be read ({error.strerror})") from error
    return [os.path.join(path.parent, line.strip()) for line in lines if line.strip()]  # noqa: PTH118
