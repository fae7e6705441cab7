"""Read pictures sorted into class folders: `train/<class>/*.png`, `test/<class>/*.png`, or `<class>/*.png`."""

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
from feredge.data.usage import as_usage
from feredge.errors import DataError, PictureError
from feredge.inference.contract import CLASSES, Images, InputContract
from feredge.inference.picture_formats import PICTURE_SUFFIXES

ALIASES = {
    "angry": ("anger",),
    "disgust": ("disgusted",),
    "fear": ("fearful", "afraid", "scared"),
    "happy": ("happiness", "joy"),
    "sad": ("sadness",),
    "surprise": ("surprised",),
}
"""Other names that editions of FER2013 give its classes."""
WORKERS = min(4, os.cpu_count() or 1)  # OpenCV decodes beside Python's lock
BATCH = 256  # pictures a task

FER2013_NAMES = {name: name for name in CLASSES} | {alias: name for name, others in ALIASES.items() for alias in others}
"""Class names of FER2013, by any name in lower case."""


class _File(NamedTuple):
    path: Path
    usage: str
    folder: str


class _Read(NamedTuple):
    """A picture, or why there is none, and the SHA-256 of its file."""

    image: Images | None
    why: str
    digest: bytes


def read_folder(root: Path, *, size: int, skip_bad_pictures: bool = False) -> Dataset:
    """Read class folders, below folders of splits or not; pictures of any size and colour become `size` x `size` gray.

    Folders that are FER2013's seven classes, under any of their usual names, get its names and order. Others are
    taken as they are, in alphabetical order. A class's pictures may lie in folders below its own, also linked ones.
    Files of other kinds are counted in `Dataset.left_out`; names that start with a dot or an underscore are left alone.

    Raises:
        DataError: no class folders, an empty one, or an unreadable picture, named; with `skip_bad_pictures` the
            latter is left out instead.
    """
    left_out = Counter[str]()
    try:
        listed = sorted(_files(root, left_out), key=lambda file: file.path.relative_to(root).as_posix())
        pictures = list(_read_all(listed, InputContract(size, size)))
    except OSError as error:
        raise DataError(f"{error.filename or root}: cannot be read ({error.strerror})") from error
    digest = hashlib.sha256()
    kept: list[int] = []
    for row, (file, picture) in enumerate(zip(listed, pictures, strict=True)):
        if picture.image is not None:
            kept.append(row)
        elif not skip_bad_pictures:
            raise DataError(f"{file.path}: {picture.why}")
        digest.update(file.path.relative_to(root).as_posix().encode("utf-8", "surrogateescape") + b"\0")
        digest.update(picture.digest)
    if not kept:
        raise DataError(f"{root}: expected pictures, found {len(listed)} files, none of which can be read")
    labels, classes = _label([file.folder for file in listed])
    return Dataset(
        images=np.stack([image for picture in pictures if (image := picture.image) is not None]),
        labels=np.array(labels, np.int8)[kept],
        usage=np.array([listed[row].usage for row in kept], np.str_),
        rows=np.array(kept, np.int64),
        classes=classes,
        digest=digest.hexdigest(),
        source=str(root),
        skipped=len(listed) - len(kept),
        left_out=dict(sorted(left_out.items())),
    )


def file_names(root: Path) -> list[str]:
    """Return the folder's pictures in the order of `Dataset.rows`, as paths below `root`."""
    return sorted(file.path.relative_to(root).as_posix() for file in _files(root, Counter()))


def _files(root: Path, left_out: Counter[str]) -> Iterator[_File]:
    """Yield every picture with its split and class folder."""
    folders = _subfolders(root)
    usages = {folder: as_usage(folder.name) for folder in folders}
    if not any(usages.values()):
        yield from _class_files(root, folders, "", left_out)
        return
    for folder, usage in usages.items():
        if not usage:
            raise DataError(f"{folder}: expected only folders of splits (train, test, val) beside each other")
        yield from _class_files(folder, _subfolders(folder), usage, left_out)


def _class_files(parent: Path, folders: list[Path], usage: str, left_out: Counter[str]) -> Iterator[_File]:
    if not folders:
        raise DataError(
            f"{parent}: expected class folders ({', '.join(CLASSES[:3])}, ...) or train/ and test/, found none"
        )
    for folder in folders:
        paths = list(_pictures(folder, set(folder.resolve().parents), left_out))
        if not paths:
            raise DataError(f"{folder}: expected pictures of this class, found none")
        if all(path.parent != folder for path in paths) and _holds_classes(folder, alone=len(folders) == 1):
            below = ", ".join(sorted(path.name for path in _subfolders(folder))[:3])
            raise DataError(
                f"{folder}: expected pictures of one class, found the folders {below}; name {folder} itself"
            )
        yield from (_File(path, usage, folder.name) for path in paths)


def _pictures(folder: Path, walked: set[Path], left_out: Counter[str]) -> Iterator[Path]:
    """Yield a class's pictures at any depth, each folder's once however often links lead to it, and none above it."""
    place = folder.resolve()
    if place in walked:
        left_out["linked folders walked before"] += 1
        return
    walked.add(place)
    for path in _visible(folder):
        if path.is_dir():
            yield from _pictures(path, walked, left_out)
        elif path.suffix.lower() in PICTURE_SUFFIXES:
            if path.is_file():
                yield path
            else:
                left_out["broken links"] += 1
        else:
            left_out[path.suffix.lower() or "files without a suffix"] += 1


def _holds_classes(folder: Path, *, alone: bool) -> bool:
    """Return whether a folder that only holds folders is a data set itself, as archives unpack to, and no class."""
    names = [path.name for path in _subfolders(folder)]
    known = [as_usage(name) or name.strip().lower() in FER2013_NAMES for name in names]
    return any(known) or (alone and len(names) > 1)


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir()]


def _visible(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))


def _label(folders: list[str]) -> tuple[list[int], tuple[str, ...]]:
    """Return each file's label, and the class names."""
    known = {folder: FER2013_NAMES.get(folder.strip().lower(), "") for folder in set(folders)}
    if set(known.values()) == set(CLASSES):
        return [CLASSES.index(known[folder]) for folder in folders], CLASSES
    classes = tuple(sorted(known))
    if len(classes) > np.iinfo(np.int8).max:
        raise DataError(f"expected at most {np.iinfo(np.int8).max} class folders, found {len(classes)}")
    index = {folder: label for label, folder in enumerate(classes)}
    return [index[folder] for folder in folders], classes


def _read_all(listed: list[_File], contract: InputContract) -> Iterator[_Read]:
    batches = [listed[start : start + BATCH] for start in range(0, len(listed), BATCH)]
    with ThreadPoolExecutor(WORKERS) as pool:
        for batch in pool.map(lambda batch: [_read_one(file.path, contract) for file in batch], batches):
            yield from batch


def _read_one(path: Path, contract: InputContract) -> _Read:
    data = path.read_bytes()
    digest = hashlib.sha256(data).digest()
    try:
        return _Read(contract.to_tensor(data)[:, :, 0], "", digest)
    except PictureError as error:
        return _Read(None, str(error).removeprefix("the given bytes: "), digest)
