"""Which pictures are meant: files, folders, lists."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from feredge.errors import PictureError

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm", ".pnm")
)


def list_pictures(
    paths: Iterable[str | os.PathLike[str]], *, lists: Iterable[Path] = (), without: Path | None = None
) -> list[str]:
    """Return the paths of all pictures meant, in a fixed order: first `paths` as given, then those in `lists`.

    Args:
        paths: picture files, taken whatever their name; and folders, whose pictures (SUFFIXES) are taken at any
            depth, sorted by name.
        lists: text files of one path a line; empty lines are skipped. Paths that are not absolute start from the
            list's own folder.
        without: a folder that is not looked into where it lies inside one of `paths`.

    Raises:
        PictureError: a path or list that does not exist, or nothing found at all.
    """
    found: list[str] = []
    given, lists = [os.fspath(path) for path in paths], list(lists)
    own = without and without.resolve()
    for path in given:
        if os.path.isdir(path):  # noqa: PTH112 - a Path a picture costs more than everything else here
            found += _walk(path, own)
        elif os.path.exists(path):  # noqa: PTH110
            found.append(path)
        else:
            raise PictureError(f"{path}: expected a picture or a folder of pictures, found nothing")
    for one in lists:
        found += _read_list(one)
    if not found:
        places = ", ".join([*given, *map(str, lists)]) or "no path"
        raise PictureError(f"{places}: expected pictures ({', '.join(sorted(SUFFIXES))}), found none")
    return found


def _walk(folder: str, without: Path | None) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise PictureError(f"{folder}: cannot be read ({error.strerror})") from error
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if without is None or Path(entry.path).resolve() != without:
                yield from _walk(entry.path, without)
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:  # noqa: PTH122
            yield entry.path


def _read_list(path: Path) -> list[str]:
    try:
        # Names need not be text on every system; surrogates carry such bytes through. Windows begins files with a mark.
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise PictureError(f"{path}: expected a list of pictures, cannot be read ({error.strerror})") from error
    return [os.path.join(path.parent, line.strip()) for line in lines if line.strip()]  # noqa: PTH118
