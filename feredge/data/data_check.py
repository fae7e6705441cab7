"""`check`: what a data set holds twice, labels two ways, or should not hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.console import visible
from feredge.data.dataset import NO_LABEL, Dataset
from feredge.data.duplicates import NEAR, constant, first_twins, near_pairs
from feredge.data.folders import file_names
from feredge.data.usage import ORDER

Index = NDArray[np.int64]
EXAMPLES = 3  # shown in the text; the JSON has all


@dataclass(frozen=True)
class Picture:
    """One image of a finding: its row in `Dataset.rows`, its file in a folder, its split and class."""

    row: int
    file: str | None
    split: str
    label: str | None


@dataclass(frozen=True)
class Group:
    """Images of the same picture: each is near another of the group. `identical` when all have the same pixels."""

    identical: bool
    images: tuple[Picture, ...]

    @property
    def labels(self) -> set[str]:
        """The classes that the picture is labelled with; more than one is a conflict."""
        return {image.label for image in self.images if image.label is not None}


@dataclass(frozen=True)
class Overlap:
    """How many images of `split` also stand in `other`; in the same split, how many stand there more than once.

    Attributes:
        size: images in `split`.
        identical: those with an image of the same pixels in `other`.
        near: further ones, with a near image only.
    """

    split: str
    other: str
    size: int
    identical: int
    near: int


@dataclass(frozen=True)
class Findings:
    """What `check` found. Constant images are in no group unless they are identical."""

    source: str
    digest: str
    images: int
    overlaps: tuple[Overlap, ...]
    groups: tuple[Group, ...]
    constant: tuple[Picture, ...]

    @property
    def conflicts(self) -> tuple[Group, ...]:
        """The groups whose images are labelled differently."""
        return tuple(group for group in self.groups if len(group.labels) > 1)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values. Rows are counted from 0, as in `Dataset.rows`."""
        return {
            "source": self.source,
            "digest": self.digest,
            "images": self.images,
            "near": f"correlation of pixels over {NEAR}",
            "rows_from": 0,
            "overlaps": [asdict(overlap) for overlap in self.overlaps],
            "duplicates": [asdict(group) for group in self.groups],
            "conflicting_labels": [asdict(group) for group in self.conflicts],
            "constant": [asdict(image) for image in self.constant],
        }

    def to_text(self) -> str:
        """Return a summary with a few examples. Rows are counted from 1, as in error messages."""
        near = sum(not group.identical for group in self.groups)
        lines = [
            f"{self.source}: {self.images:,} images",
            f"near duplicate: correlation of pixels over {NEAR}",
            *(_overlap_line(overlap) for overlap in self.overlaps),
            f"{len(self.groups):,} pictures stand more than once, {near:,} of them with small changes"
            + _examples(self.groups),
            f"{len(self.conflicts):,} of them with conflicting labels" + _examples(self.conflicts),
            f"{len(self.constant):,} constant images" + _listed([_name(image) for image in self.constant], ", ", ": "),
        ]
        return "\n".join(map(visible, lines))


def check(dataset: Dataset) -> Findings:
    """Find identical and near pictures within and across splits, conflicting labels and constant images."""
    twins = first_twins(dataset.images)
    pictures = np.unique(twins)  # one image for each set of identical ones
    splits = sorted(map(str, np.unique(dataset.usage)), key=ORDER.index)
    codes = np.array([splits.index(usage) for usage in dataset.usage])
    holds = np.zeros((len(dataset), len(splits)), np.int64)  # of each picture, its identical images in each split
    np.add.at(holds, (twins, codes), 1)
    nears = np.zeros((len(dataset), len(splits)), np.bool_)  # which splits have an image near the picture
    root = np.arange(len(dataset))
    for left, right in near_pairs(dataset.images, pictures):
        for split in range(len(splits)):
            nears[left[holds[right, split] > 0], split] = True
            nears[right[holds[left, split] > 0], split] = True
        _join(root, left, right)
    here = [codes == split for split in range(len(splits))]
    overlaps = (
        _overlap(splits[a], splits[b], holds[twins[here[a]], b] > (a == b), nears[twins[here[a]], b])
        for a in range(len(splits))
        for b in range(len(splits))
    )
    describe = _Describer(dataset)
    return Findings(
        source=dataset.source,
        digest=dataset.digest,
        images=len(dataset),
        overlaps=tuple(overlap for overlap in overlaps if overlap.identical or overlap.near),
        groups=tuple(
            Group(len(np.unique(twins[group])) == 1, tuple(map(describe, group.tolist())))
            for group in _groups(root[twins])
        ),
        constant=tuple(map(describe, np.flatnonzero(constant(dataset.images)).tolist())),
    )


def _overlap(split: str, other: str, identical: NDArray[np.bool_], near: NDArray[np.bool_]) -> Overlap:
    return Overlap(split, other, len(identical), int(identical.sum()), int((near & ~identical).sum()))


def _join(root: Index, left: Index, right: Index) -> None:
    """Let `root`, a forest in which each points to the lowest of its tree, also join `left` to `right`."""
    while True:
        ours, theirs = root[left], root[right]
        apart = ours != theirs
        if not apart.any():
            return
        low, high = np.minimum(ours, theirs)[apart], np.maximum(ours, theirs)[apart]
        np.minimum.at(root, high, low)
        while (root[root] != root).any():
            root[:] = root[root]


def _groups(root: Index) -> list[Index]:
    """Return the members of each tree with more than one, in order."""
    members = np.flatnonzero(np.bincount(root, minlength=len(root))[root] > 1)
    members = members[np.argsort(root[members], kind="stable")]
    return np.split(members, np.flatnonzero(np.diff(root[members])) + 1) if members.size else []


class _Describer:
    """Makes a Picture of an index into a data set."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        root = Path(dataset.source)
        self._files = file_names(root) if root.is_dir() else None

    def __call__(self, index: int) -> Picture:
        row, label = int(self._dataset.rows[index]), int(self._dataset.labels[index])
        return Picture(
            row=row,
            file=self._files[row] if self._files else None,
            split=str(self._dataset.usage[index]),
            label=None if label == NO_LABEL else self._dataset.classes[label],
        )


def _overlap_line(overlap: Overlap) -> str:
    share = (overlap.identical + overlap.near) / overlap.size
    where = f"more than once in {_split(overlap.split)}"
    if overlap.split != overlap.other:
        where = f"of {_split(overlap.split)} also in {_split(overlap.other)}"
    return f"{overlap.identical:,} images identical and {overlap.near:,} near {where} ({share:.1%})"


def _split(name: str) -> str:
    return name or "the data set"


def _examples(groups: tuple[Group, ...]) -> str:
    return _listed([_listed([_name(image) for image in group.images], " = ") for group in groups], "; ", ": ")


def _name(image: Picture) -> str:
    return f"{image.file or f'row {image.row + 1}'} {image.label or ''}".rstrip()


def _listed(items: list[str], between: str, before: str = "") -> str:
    if not items:
        return ""
    return before + between.join(items[:EXAMPLES] + ["..."] * (len(items) > EXAMPLES))
