"""Data sets of synthetic images: rows, labels, splits and digest around a function that draws."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import Dataset
from feredge.data.source_pictures import SourcePictures
from feredge.errors import DataError
from feredge.inference.contract import Images


def draw_dataset(
    name: str,
    draw: Callable[[NDArray[np.int64], NDArray[np.int8], int], Images],
    count: int,
    seed: int,
    *,
    classes: tuple[str, ...],
    noun: str,
    pictures: SourcePictures,
    batch: int,
) -> Dataset:
    """Return `count` synthetic images, balanced over the classes; of every ten of a class eight are Training.

    Args:
        name: of the source, in messages.
        draw: the images `uint8 (N, H, W, C)` of row numbers, labels and a seed.
        count: at least ten per class.
        seed: with an image's row number, all that the image depends on.
        classes: class names; image i is of class i % len(classes).
        noun: of the images, in messages.
        pictures: what is known of the images' source.
        batch: images drawn at once; it changes no pixel.

    Raises:
        DataError: too few images (some split would miss a class), more than a million, or a seed out of range.
    """
    if not 10 * len(classes) <= count <= 1_000_000:
        raise DataError(f"{name}:{count}: expected from {10 * len(classes)} to 1000000 {noun}")
    if not 0 <= seed < 2**64:
        raise DataError(f"{name}:{count}: expected a seed from 0 to 2^64 - 1, found {seed}")
    rows = np.arange(count, dtype=np.int64)
    labels = (rows % len(classes)).astype(np.int8)
    starts = range(0, count, batch)
    images = np.concatenate(
        [draw(rows[start : start + batch], labels[start : start + batch], seed) for start in starts]
    )
    fold = rows // len(classes) % 10
    usage = np.where(fold < 8, "Training", np.where(fold == 8, "PublicTest", "PrivateTest"))
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    return Dataset(images, labels, usage, rows, classes, digest, f"{name}:{count}", pictures=pictures)
