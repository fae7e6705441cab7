"""Summary of a data set: image counts by split and class, and a picture with a sample of each class."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feredge import files
from feredge.console import escape_control
from feredge.data.dataset import NO_LABEL, Dataset
from feredge.data.source_pictures import SourcePictures
from feredge.data.split_names import SPLIT_ORDER, TEST_SPLITS, TRAINING_SPLITS
from feredge.errors import DataError
from feredge.inference.contract import Images

TILE_SIDE = 144  # pixels
CAPTION_HEIGHT = 24  # pixels
TILES_PER_ROW = 7


@dataclass(frozen=True)
class Summary:
    """Image counts of a data set.

    Attributes:
        size: height and width of the images.
        pictures: the source's pictures before they were resized; None where unknown.
        counts: images of each class, by split; the split is empty where the source has none.
        unlabelled: images without a label, by split.
        skipped: malformed rows or unreadable pictures that were skipped.
        votes: whether FER+ votes were loaded.
        left_out: files of a folder that are not pictures, by suffix.
    """

    source: str
    digest: str
    images: int
    size: tuple[int, int]
    pictures: SourcePictures | None
    counts: dict[str, dict[str, int]]
    unlabelled: dict[str, int]
    skipped: int
    votes: bool
    left_out: dict[str, int]

    @property
    def untrained_classes(self) -> tuple[str, ...]:
        """The classes with test images but without training images."""
        training_splits = [split for split in self.counts if split in TRAINING_SPLITS]
        if not training_splits:
            return ()
        classes = self.counts[training_splits[0]]
        test_splits = [split for split in self.counts if split in TEST_SPLITS]
        return tuple(
            name
            for name in classes
            if any(self.counts[split][name] for split in test_splits)
            and not any(self.counts[split][name] for split in training_splits)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the lines above the table: source, pictures, digest, and what was left out."""
        height, width = self.size
        return "\n".join(
            [
                f"{escape_control(self.source)}: {self.images:,} images of {width} x {height}",
                *([f"pictures: {self.pictures}"] if self.pictures else []),
                f"SHA-256 {self.digest}",
                *(["with FER+ votes"] if self.votes else []),
                *([f"{self.skipped:,} bad rows skipped"] if self.skipped else []),
                *([ignored_files_line(self.left_out)] if self.left_out else []),
                *([untrained_classes_line(self.untrained_classes)] if self.untrained_classes else []),
            ]
        )

    def to_table(self) -> tuple[list[str], list[list[str]]]:
        """Return the columns, a class and each split, and a row of counts for each class, at last of all."""
        splits = list(self.counts)
        rows = [[name, *(f"{self.counts[split][name]:,}" for split in splits)] for name in self.counts[splits[0]]]
        if any(self.unlabelled.values()):
            rows.append(["unlabelled", *(f"{self.unlabelled[split]:,}" for split in splits)])
        totals = (sum(self.counts[split].values()) + self.unlabelled[split] for split in splits)
        rows.append(["all", *(f"{total:,}" for total in totals)])
        return ["class", *(split or "images" for split in splits)], rows


def untrained_classes_line(names: tuple[str, ...]) -> str:
    """Return the warning about classes that have test images only."""
    return f"no training images of {', '.join(names)}, which the test split has"


def ignored_files_line(counts: dict[str, int]) -> str:
    """Return the line with the counts of files that are not pictures, by suffix."""
    return "ignored: " + ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


def summarize(dataset: Dataset) -> Summary:
    """Count a data set's images by split and class."""
    splits = sorted(map(str, np.unique(dataset.usage)), key=SPLIT_ORDER.index)
    labels = {split: dataset.labels[dataset.usage == split] for split in splits}
    return Summary(
        source=dataset.source,
        digest=dataset.digest,
        images=len(dataset),
        size=(dataset.images.shape[1], dataset.images.shape[2]),
        pictures=dataset.pictures,
        counts={
            split: {name: int((labels[split] == label).sum()) for label, name in enumerate(dataset.classes)}
            for split in splits
        },
        unlabelled={split: int((labels[split] == NO_LABEL).sum()) for split in splits},
        skipped=dataset.skipped,
        votes=dataset.votes is not None,
        left_out=dataset.ignored_files,
    )


def sample_grid(dataset: Dataset) -> Images:
    """Return a picture, `uint8 (H, W, C)`: the first image of each class with the class name below it."""
    tiles = [_tile(dataset, label, name) for label, name in enumerate(dataset.classes)]
    blank = np.full_like(tiles[0], 255)
    rows = [tiles[start : start + TILES_PER_ROW] for start in range(0, len(tiles), TILES_PER_ROW)]
    rows[-1] += [blank] * (len(rows[0]) - len(rows[-1]))
    return np.vstack([np.hstack(row) for row in rows])


def write_sample_grid(dataset: Dataset, path: Path) -> None:
    """Write `sample_grid` atomically to a picture file, in the format of its suffix.

    Raises:
        DataError: a suffix that OpenCV has no encoder for, or a picture that the format cannot hold.
    """
    import cv2

    try:
        encoded, data = cv2.imencode(path.suffix, np.ascontiguousarray(sample_grid(dataset)[:, :, ::-1]))  # BGR
    except cv2.error as error:
        raise DataError(f"{path}: expected a picture's suffix such as .png, found {path.suffix!r}") from error
    if not encoded:
        raise DataError(f"{path}: expected a picture that fits its format, OpenCV could not write it")
    files.write_bytes(path, data.tobytes())


def _tile(dataset: Dataset, label: int, name: str) -> Images:
    import cv2

    side = TILE_SIDE
    tile = np.full((side + CAPTION_HEIGHT, side, dataset.images.shape[3]), 255, np.uint8)
    rows = np.flatnonzero(dataset.labels == label)
    if rows.size:
        resized = cv2.resize(dataset.images[rows[0]], (side, side), interpolation=cv2.INTER_NEAREST)
        tile[:side] = resized.reshape(side, side, -1)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.5
    text_width = cv2.getTextSize(name, font, scale, 1)[0][0]
    if text_width > side - 4:
        scale, text_width = scale * (side - 4) / text_width, side - 4
    cv2.putText(tile, name, ((side - text_width) // 2, side + CAPTION_HEIGHT - 8), font, scale, 0, 1, cv2.LINE_AA)
    return tile
