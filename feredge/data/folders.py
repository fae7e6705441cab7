"""Reader of class folders: `train/<class>/*.png`, `test/<class>/*.png`, or `<class>/*.png`."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from feredge.data.dataset import Dataset
from feredge.data.source_pictures import sample_pictures
from feredge.data.split_names import parse_split_name
from feredge.errors import DataError, PictureError
from feredge.inference.contract import CLASSES, Images, InputContract
from feredge.inference.picture_formats import PICTURE_SUFFIXES

CLASS_ALIASES = {
    "angry": ("anger",),
    "disgust": ("disgusted",),
    "fear": ("fearful", "afraid", "scared"),
    "happy": ("happiness", "joy"),
    "sad": ("sadness",),
    "surprise": ("surprised",),
}
"""Other names of FER2013's classes in editions of it."""
DECODE_WORKERS = min(4, os.cpu_count() or 1)  # OpenCV releases the GIL while it decodes
DECODE_BATCH = 256  # pictures a task

FER2013_CLASS_ALIASES = {name: name for name in CLASSES} | {
    alias: name for name, aliases in CLASS_ALIASES.items() for alias in aliases
}
"""FER2013's class of every accepted name in lower case."""


class _ImageFile(NamedTuple):
    path: Path
    usage: str
    folder: str


class _DecodedFile(NamedTuple):
    """A decoded picture, or the error, and the SHA-256 of its file."""

    image: Images | None
    error: str
    digest: bytes


def read_folder(root: Path, *, contract: InputContract, skip_bad_pictures: bool = False) -> Dataset:
    """Read class folders, optionally inside folders of splits; pictures are converted to the shape of `contract`.

    If the folders are FER2013's seven classes, under any of CLASS_ALIASES, the classes get its names and order; else
    the folders' names in alphabetical order. A class may have subfolders and linked folders. Files of other kinds are
    counted in `Dataset.ignored_files`; names that start with a dot or an underscore are ignored.

    Raises:
        DataError: no class folders, an empty one, or an unreadable picture, named; with `skip_bad_pictures` the
            latter is skipped instead.
    """
    ignored_files = Counter[str]()
    try:
        files = sorted(_files(root, ignored_files), key=lambda file: file.path.relative_to(root).as_posix())
        pictures = list(_decode_all(files, contract))
    except OSError as error:
        raise DataError(f"{error.filename or root}: cannot be read ({error.strerror})") from error
    digest = hashlib.sha256()
    readable: list[int] = []
    for row, (file, picture) in enumerate(zip(files, pictures, strict=True)):
        if picture.image is not None:
            readable.append(row)
        elif not skip_bad_pictures:
            raise DataError(f"{file.path}: {picture.error}")
        digest.update(file.path.relative_to(root).as_posix().encode("utf-8", "surrogateescape") + b"\0")
        digest.update(picture.digest)
    if not readable:
        raise DataError(f"{root}: expected pictures, found {len(files)} files, none of which can be read")
    labels, classes = _label([file.folder for file in files])
    return Dataset(
        images=np.stack([image for picture in pictures if (image := picture.image) is not None]),
        labels=np.array(labels, np.int8)[readable],
        usage=np.array([files[row].usage for row in readable], np.str_),
        rows=np.array(readable, np.int64),
        classes=classes,
        digest=digest.hexdigest(),
        source=str(root),
        skipped=len(files) - len(readable),
        ignored_files=dict(sorted(ignored_files.items())),
        pictures=sample_pictures([files[row].path for row in readable], DECODE_WORKERS),
    )


def file_names(root: Path) -> list[str]:
    """Return the folder's pictures in the order of `Dataset.rows`, as paths relative to `root`."""
    return sorted(file.path.relative_to(root).as_posix() for file in _files(root, Counter()))


def _files(root: Path, ignored_files: Counter[str]) -> Iterator[_ImageFile]:
    """Yield every picture with its split and class folder."""
    folders = _subfolders(root)
    usages = {folder: parse_split_name(folder.name) for folder in folders}
    if not any(usages.values()):
        yield from _class_files(root, folders, "", ignored_files)
        return
    for folder, usage in usages.items():
        if not usage:
            raise DataError(f"{folder}: expected only folders of splits (train, test, val)")
        yield from _class_files(folder, _subfolders(folder), usage, ignored_files)


def _class_files(parent: Path, folders: list[Path], usage: str, ignored_files: Counter[str]) -> Iterator[_ImageFile]:
    if not folders:
        raise DataError(
            f"{parent}: expected class folders ({', '.join(CLASSES[:3])}, ...) or train/ and test/, found none"
        )
    for folder in folders:
        paths = list(_pictures(folder, set(folder.resolve().parents), ignored_files))
        if not paths:
            raise DataError(f"{folder}: expected pictures of this class, found none")
        if all(path.parent != folder for path in paths) and _is_dataset(folder, only_folder=len(folders) == 1):
            subfolders = ", ".join(sorted(path.name for path in _subfolders(folder))[:3])
            raise DataError(
                f"{folder}: expected pictures of one class, found the folders {subfolders}; name {folder} itself"
            )
        yield from (_ImageFile(path, usage, folder.name) for path in paths)


def _pictures(folder: Path, visited: set[Path], ignored_files: Counter[str]) -> Iterator[Path]:
    """Yield a class's pictures at any depth; a folder is visited once, even if several links lead to it."""
    resolved = folder.resolve()
    if resolved in visited:
        ignored_files["linked folders walked before"] += 1
        return
    visited.add(resolved)
    for path in _visible(folder):
        if path.is_dir():
            yield from _pictures(path, visited, ignored_files)
        elif path.suffix.lower() in PICTURE_SUFFIXES:
            if path.is_file():
                yield path
            else:
                ignored_files["broken links"] += 1
        else:
            ignored_files[path.suffix.lower() or "files without a suffix"] += 1


def _is_dataset(folder: Path, *, only_folder: bool) -> bool:
    """Return whether a folder of folders is a data set of its own, such as an unpacked archive, and not a class."""
    names = [path.name for path in _subfolders(folder)]
    has_known_name = any(parse_split_name(name) or name.strip().lower() in FER2013_CLASS_ALIASES for name in names)
    return has_known_name or (only_folder and len(names) > 1)


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir()]


def _visible(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))


def _label(folders: list[str]) -> tuple[list[int], tuple[str, ...]]:
    """Return each file's label, and the class names."""
    names = {folder: FER2013_CLASS_ALIASES.get(folder.strip().lower(), "") for folder in set(folders)}
    if set(names.values()) == set(CLASSES):
        return [CLASSES.index(names[folder]) for folder in folders], CLASSES
    classes = tuple(sorted(names))
    if len(classes) > np.iinfo(np.int8).max:
        raise DataError(f"expected at most {np.iinfo(np.int8).max} class folders, found {len(classes)}")
    index = {folder: label for label, folder in enumerate(classes)}
    return [index[folder] for folder in folders], classes


def _decode_all(files: list[_ImageFile], contract: InputContract) -> Iterator[_DecodedFile]:
    batches = [files[start : start + DECODE_BATCH] for start in range(0, len(files), DECODE_BATCH)]
    with ThreadPoolExecutor(DECODE_WORKERS) as pool:
        for batch in pool.map(lambda batch: [_decode(file.path, contract) for file in batch], batches):
            yield from batch


def _decode(path: Path, contract: InputContract) -> _DecodedFile:
    data = path.read_bytes()
    digest = hashlib.sha256(data).digest()
    try:
        return _DecodedFile(contract.to_tensor(data), "", digest)
    except PictureError as error:
        return _DecodedFile(None, str(error).removeprefix("the given bytes: "), digest)
