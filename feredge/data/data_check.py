"""Check of a data set: duplicates, conflicting labels and constant images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feredge.console import escape_control
from feredge.data.dataset import NO_LABEL, Dataset, RowIndex, RowMask
from feredge.data.duplicates import NEAR_DUPLICATE_CORRELATION, first_identical, is_constant, near_duplicate_pairs
from feredge.data.folders import file_names
from feredge.data.split_names import SPLIT_ORDER

MAX_EXAMPLES = 3  # in the text; the JSON has all


@dataclass(frozen=True)
class ImageRecord:
    """An image that the check reports: its row number in the source, its file in a folder, its split and class."""

    row: int
    file: str | None
    split: str
    label: str | None


@dataclass(frozen=True)
class DuplicateGroup:
    """A connected component of the duplicate pairs; `identical` if all images have the same pixels."""

    identical: bool
    images: tuple[ImageRecord, ...]

    @property
    def labels(self) -> set[str]:
        """The labels of the group's images; more than one is a conflict."""
        return {image.label for image in self.images if image.label is not None}


@dataclass(frozen=True)
class Overlap:
    """Number of images of `split` with a duplicate in `other`, which may be the same split.

    Attributes:
        size: images in `split`.
        identical: those with an exact duplicate in `other`.
        near: those with a near duplicate only.
    """

    split: str
    other: str
    size: int
    identical: int
    near: int


@dataclass(frozen=True)
class CheckResult:
    """Result of `check`. Constant images are in no group unless they are identical."""

    source: str
    digest: str
    images: int
    overlaps: tuple[Overlap, ...]
    groups: tuple[DuplicateGroup, ...]
    constant_images: tuple[ImageRecord, ...]

    @property
    def conflicts(self) -> tuple[DuplicateGroup, ...]:
        """The groups whose images are labelled differently."""
        return tuple(group for group in self.groups if len(group.labels) > 1)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values. Rows are 0-based, as in `Dataset.rows`."""
        return {
            "source": self.source,
            "digest": self.digest,
            "images": self.images,
            "near": f"correlation of pixels over {NEAR_DUPLICATE_CORRELATION}",
            "rows_from": 0,
            "overlaps": [asdict(overlap) for overlap in self.overlaps],
            "duplicates": [asdict(group) for group in self.groups],
            "conflicting_labels": [asdict(group) for group in self.conflicts],
            "constant": [asdict(image) for image in self.constant_images],
        }

    def to_text(self) -> str:
        """Return a summary with a few examples. Rows are 1-based, as in error messages."""
        near = sum(not group.identical for group in self.groups)
        lines = [
            f"{self.source}: {self.images:,} images",
            f"near duplicate: correlation of pixels over {NEAR_DUPLICATE_CORRELATION}",
            *(_overlap_line(overlap) for overlap in self.overlaps),
            f"{len(self.groups):,} groups of duplicates, {near:,} of them near duplicates" + _examples(self.groups),
            f"{len(self.conflicts):,} of them with conflicting labels" + _examples(self.conflicts),
            f"{len(self.constant_images):,} constant images"
            + _join_first([_name(image) for image in self.constant_images], ", ", ": "),
        ]
        return "\n".join(map(escape_control, lines))


def check(dataset: Dataset) -> CheckResult:
    """Find exact and near duplicates within and across splits, conflicting labels and constant images."""
    first = first_identical(dataset.images)
    splits = sorted(map(str, np.unique(dataset.usage)), key=SPLIT_ORDER.index)
    codes = np.array([splits.index(usage) for usage in dataset.usage])
    # Rows of the next two arrays count for the first of each set of identical images only.
    identical_counts = np.zeros((len(dataset), len(splits)), np.int64)  # its identical images in each split
    np.add.at(identical_counts, (first, codes), 1)
    has_near = np.zeros((len(dataset), len(splits)), np.bool_)  # whether a split has a near duplicate of it
    root = np.arange(len(dataset))
    for a, b in near_duplicate_pairs(dataset.images, np.unique(first)):
        for split in range(len(splits)):
            has_near[a[identical_counts[b, split] > 0], split] = True
            has_near[b[identical_counts[a, split] > 0], split] = True
        _union(root, a, b)
    members = [first[codes == split] for split in range(len(splits))]
    overlaps = (
        _overlap(splits[i], splits[j], identical_counts[members[i], j] > (i == j), has_near[members[i], j])
        for i in range(len(splits))
        for j in range(len(splits))
    )
    to_record = _ImageRecords(dataset)
    return CheckResult(
        source=dataset.source,
        digest=dataset.digest,
        images=len(dataset),
        overlaps=tuple(overlap for overlap in overlaps if overlap.identical or overlap.near),
        groups=tuple(
            DuplicateGroup(len(np.unique(first[group])) == 1, tuple(map(to_record, group.tolist())))
            for group in _groups(root[first])
        ),
        constant_images=tuple(map(to_record, np.flatnonzero(is_constant(dataset.images)).tolist())),
    )


def _overlap(split: str, other: str, identical: RowMask, near: RowMask) -> Overlap:
    return Overlap(split, other, len(identical), int(identical.sum()), int((near & ~identical).sum()))


def _union(root: RowIndex, a: RowIndex, b: RowIndex) -> None:
    """Union-find: merge the sets of `a` and `b` in place; every element of `root` is the lowest index of its set."""
    while True:
        root_a, root_b = root[a], root[b]
        differ = root_a != root_b
        if not differ.any():
            return
        low, high = np.minimum(root_a, root_b)[differ], np.maximum(root_a, root_b)[differ]
        np.minimum.at(root, high, low)
        while (root[root] != root).any():
            root[:] = root[root]


def _groups(root: RowIndex) -> list[RowIndex]:
    """Return the members of each set with more than one, in order."""
    members = np.flatnonzero(np.bincount(root, minlength=len(root))[root] > 1)
    members = members[np.argsort(root[members], kind="stable")]
    return np.split(members, np.flatnonzero(np.diff(root[members])) + 1) if members.size else []


class _ImageRecords:
    """Maps an index into a data set to an ImageRecord."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        root = Path(dataset.source)
        self._files = file_names(root) if root.is_dir() else None

    def __call__(self, index: int) -> ImageRecord:
        row, label = int(self._dataset.rows[index]), int(self._dataset.labels[index])
        return ImageRecord(
            row=row,
            file=self._files[row] if self._files else None,
            split=str(self._dataset.usage[index]),
            label=None if label == NO_LABEL else self._dataset.classes[label],
        )


def _overlap_line(overlap: Overlap) -> str:
    share = (overlap.identical + overlap.near) / overlap.size
    scope = "within it" if overlap.split == overlap.other else f"of images in {overlap.other}"
    name = overlap.split or "the data set"
    return f"{name}: {overlap.identical:,} identical and {overlap.near:,} near duplicates {scope} ({share:.1%})"


def _examples(groups: tuple[DuplicateGroup, ...]) -> str:
    return _join_first([_join_first([_name(image) for image in group.images], " = ") for group in groups], "; ", ": ")


def _name(image: ImageRecord) -> str:
    return f"{image.file or f'row {image.row + 1}'} {image.label or ''}".rstrip()


def _join_first(items: list[str], separator: str, prefix: str = "") -> str:
    """Join at most MAX_EXAMPLES items, with `...` for the others; an empty string for none."""
    if not items:
        return ""
    return prefix + separator.join(items[:MAX_EXAMPLES] + ["..."] * (len(items) > MAX_EXAMPLES))
