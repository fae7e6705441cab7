"""`info`: how many images a data set has of what; `one_of_each`: what they look like."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feredge import files
from feredge.console import visible
from feredge.data.dataset import NO_LABEL, Dataset
from feredge.data.usage import ORDER, TESTS, TRAINING
from feredge.errors import DataError
from feredge.inference.contract import Images

TILE = 144  # pixels a side that a face is shown at
CAPTION = 24
ACROSS = 7


@dataclass(frozen=True)
class Info:
    """Counts of a data set.

    Attributes:
        size: height and width of the images.
        counts: images of each class, by split; the split is empty where the source has none.
        unlabelled: images without a label, by split.
        skipped: bad rows or pictures that were left out.
        votes: whether FER+ votes came with it.
        left_out: files of a folder that are no pictures, by suffix.
    """

    source: str
    digest: str
    images: int
    size: tuple[int, int]
    counts: dict[str, dict[str, int]]
    unlabelled: dict[str, int]
    skipped: int
    votes: bool
    left_out: dict[str, int]

    @property
    def only_tested(self) -> tuple[str, ...]:
        """The classes that stand in a test split and not among the training images."""
        trained = [split for split in self.counts if split in TRAINING]
        if not trained:
            return ()
        classes = self.counts[trained[0]]
        tested = [split for split in self.counts if split in TESTS]
        return tuple(
            name
            for name in classes
            if any(self.counts[split][name] for split in tested)
            and not any(self.counts[split][name] for split in trained)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return a table, one row a class and one column a split."""
        splits = list(self.counts)
        classes = list(self.counts[splits[0]])
        rows = [["", *(split or "images" for split in splits)]]
        rows += [[visible(name), *(f"{self.counts[split][name]:,}" for split in splits)] for name in classes]
        if any(self.unlabelled.values()):
            rows.append(["unlabelled", *(f"{self.unlabelled[split]:,}" for split in splits)])
        totals = (sum(self.counts[split].values()) + self.unlabelled[split] for split in splits)
        rows.append(["all", *(f"{total:,}" for total in totals)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        height, width = self.size
        return "\n".join(
            [
                f"{visible(self.source)}: {self.images:,} images of {width} x {height}",
                f"SHA-256 {self.digest}",
                *(["with FER+ votes"] if self.votes else []),
                *([f"{self.skipped:,} bad rows skipped"] if self.skipped else []),
                *([left_out_line(self.left_out)] if self.left_out else []),
                *([only_tested_line(self.only_tested)] if self.only_tested else []),
                *(_aligned(row, widths) for row in rows),
            ]
        )


def only_tested_line(names: tuple[str, ...]) -> str:
    """Return the warning that no network can learn these classes."""
    return f"no training images of {', '.join(names)}, which the test split has"


def left_out_line(counts: dict[str, int]) -> str:
    """Return which files of a folder are no pictures, by suffix."""
    return "left out: " + ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


def _aligned(row: list[str], widths: list[int]) -> str:
    name, *numbers = row
    return "  ".join(
        [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))]
    )


def info(dataset: Dataset) -> Info:
    """Count a data set's images by split and class."""
    splits = sorted(map(str, np.unique(dataset.usage)), key=ORDER.index)
    labels = {split: dataset.labels[dataset.usage == split] for split in splits}
    return Info(
        source=dataset.source,
        digest=dataset.digest,
        images=len(dataset),
        size=(dataset.images.shape[1], dataset.images.shape[2]),
        counts={
            split: {name: int((labels[split] == label).sum()) for label, name in enumerate(dataset.classes)}
            for split in splits
        },
        unlabelled={split: int((labels[split] == NO_LABEL).sum()) for split in splits},
        skipped=dataset.skipped,
        votes=dataset.votes is not None,
        left_out=dataset.left_out,
    )


def one_of_each(dataset: Dataset) -> Images:
    """Return one gray picture, `uint8 (H, W)`: the first face of each class with the class's name under it."""
    tiles = [_tile(dataset, label, name) for label, name in enumerate(dataset.classes)]
    blank = np.full_like(tiles[0], 255)
    lines = [tiles[start : start + ACROSS] for start in range(0, len(tiles), ACROSS)]
    lines[-1] += [blank] * (len(lines[0]) - len(lines[-1]))
    return np.vstack([np.hstack(line) for line in lines])


def write_one_of_each(dataset: Dataset, path: Path) -> None:
    """Write `one_of_each` to a picture file, in the format its suffix names, whole or not at all.

    Raises:
        DataError: a suffix that OpenCV writes no pictures by.
    """
    import cv2

    try:
        written, data = cv2.imencode(path.suffix, one_of_each(dataset))
    except cv2.error as error:
        raise DataError(f"{path}: expected a picture's suffix such as .png, found {path.suffix!r}") from error
    if not written:
        raise DataError(f"{path}: expected a picture that fits its format, OpenCV could not write it")
    files.write_bytes(path, data.tobytes())


def _tile(dataset: Dataset, label: int, name: str) -> Images:
    import cv2

    tile = np.full((TILE + CAPTION, TILE), 255, np.uint8)
    found = np.flatnonzero(dataset.labels == label)
    if found.size:
        tile[:TILE] = cv2.resize(dataset.images[found[0]], (TILE, TILE), interpolation=cv2.INTER_NEAREST)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.5
    wide = cv2.getTextSize(name, font, scale, 1)[0][0]
    if wide > TILE - 4:
        scale, wide = scale * (TILE - 4) / wide, TILE - 4
    cv2.putText(tile, name, ((TILE - wide) // 2, TILE + CAPTION - 8), font, scale, 0, 1, cv2.LINE_AA)
    return tile
