"""`check`: counts, groups and text."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feredge.data import check, load
from feredge.data.data_check import Overlap, _union
from feredge.data.dataset import NO_LABEL, Dataset


@pytest.fixture
def faces() -> Dataset:
    """Return 20 pictures: 0 = 1 = 12, 2 near 13, 3 near 4 near 5, 6 and 7 black, 8 white, 14 = 15."""
    images = np.random.default_rng(0).integers(30, 200, (20, 48, 48)).astype(np.uint8)
    images[[1, 12]] = images[0]
    images[13] = images[2] + np.random.default_rng(1).integers(0, 5, (48, 48), np.uint8)
    images[4] = images[3] // 2
    images[5] = images[4] + np.random.default_rng(2).integers(0, 5, (48, 48), np.uint8)
    images[[6, 7]] = 0
    images[8] = 255
    images[15] = images[14]
    labels = np.zeros(20, np.int8)
    labels[12] = 1
    labels[5] = NO_LABEL
    usage = np.array(["Training"] * 10 + ["PublicTest"] * 10)
    return Dataset(images[..., None], labels, usage, np.arange(20) + 100, ("angry", "happy"), "0" * 64, "faces.csv")


def test_groups(faces: Dataset) -> None:
    """Guards the lists: identical and near pictures together, near ones joined through others, constant ones apart."""
    result = check(faces)
    assert [([image.row - 100 for image in group.images], group.identical) for group in result.groups] == [
        ([0, 1, 12], True),
        ([2, 13], False),
        ([3, 4, 5], False),
        ([6, 7], True),
        ([14, 15], True),
    ]
    assert [image.row - 100 for image in result.constant_images] == [6, 7, 8]
    assert [[image.label for image in group.images] for group in result.conflicts] == [["angry", "angry", "happy"]]
    assert [image.label for image in result.groups[2].images] == ["angry", "angry", None]


def test_overlaps(faces: Dataset) -> None:
    """Guards the counts a split: images, not pairs, and an image counts once."""
    assert check(faces).overlaps == (
        Overlap("Training", "Training", 10, identical=4, near=3),
        Overlap("Training", "PublicTest", 10, identical=2, near=1),
        Overlap("PublicTest", "Training", 10, identical=1, near=1),
        Overlap("PublicTest", "PublicTest", 10, identical=2, near=0),
    )


def test_near_copies_of_copies(faces: Dataset) -> None:
    """Guards images that are near others only through an identical one: they are compared once for all."""
    faces.images[9] = faces.images[2]
    overlaps = {(overlap.split, overlap.other): overlap for overlap in check(faces).overlaps}
    overlap = overlaps["Training", "PublicTest"]
    assert (overlap.identical, overlap.near) == (2, 2)


def test_json_and_text(faces: Dataset) -> None:
    """Guards both forms: JSON is whole and counts from 0, text is short and counts from 1 as errors do."""
    result = check(faces)
    value = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert value["images"] == 20 and value["rows_from"] == 0
    assert value["duplicates"][1] == {
        "identical": False,
        "images": [
            {"row": 102, "file": None, "split": "Training", "label": "angry"},
            {"row": 113, "file": None, "split": "PublicTest", "label": "angry"},
        ],
    }
    assert len(value["overlaps"]) == 4 and len(value["constant"]) == 3 and len(value["conflicting_labels"]) == 1
    text = result.to_text()
    assert "Training: 4 identical and 3 near duplicates within it (70.0%)" in text
    assert "PublicTest: 1 identical and 1 near duplicates of images in Training (20.0%)" in text
    assert "5 groups of duplicates, 2 of them near duplicates: row 101 angry = row 102 angry = " in text
    assert "3 constant images: row 107 angry, row 108 angry, row 109 angry" in text


def test_clean_data(faces: Dataset) -> None:
    """Guards the report on a data set with nothing to report."""
    result = check(faces.take(np.array([0, 2, 3, 10])))
    assert not result.overlaps and not result.groups and not result.constant_images
    assert result.to_text().endswith("0 of them with conflicting labels\n0 constant images")


def test_files_are_named(tmp_path: Path) -> None:
    """Guards folders: a row's number is no help there."""
    for index, name in enumerate(("train/a/1.png", "train/b/2.png", "test/a/3.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture = np.random.default_rng(min(index, 1)).integers(0, 256, (48, 48), np.uint8)
        assert cv2.imwrite(str(tmp_path / name), picture)
    (group,) = check(load(tmp_path)).groups
    assert [image.file for image in group.images] == ["test/a/3.png", "train/b/2.png"]
    assert "test/a/3.png a = train/b/2.png b" in check(load(tmp_path)).to_text()


@given(st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=12), max_size=5))
def test_joining(portions: list[list[tuple[int, int]]]) -> None:
    """Guards groups whose pairs come in several portions, in chains, and in any order."""
    root = np.arange(31)
    plain = [{row} for row in range(31)]
    for portion in portions:
        pairs = np.array(portion, np.int64).reshape(-1, 2)
        _union(root, pairs[:, 0], pairs[:, 1])
        for first, second in portion:
            together = plain[first] | plain[second]
            for row in together:
                plain[row] = together
        assert root.tolist() == [min(group) for group in plain]


def test_many_copies_of_one_picture() -> None:
    """Guards video frames and the like: every pair is near, and they are one group."""
    rng = np.random.default_rng(0)
    images = rng.integers(20, 200, (48, 48)) + rng.integers(0, 3, (200, 48, 48))
    dataset = Dataset(
        images[..., None].astype(np.uint8),
        np.zeros(200, np.int8),
        np.full(200, ""),
        np.arange(200),
        ("a",),
        "0" * 64,
        "video",
    )
    result = check(dataset)
    assert [len(group.images) for group in result.groups] == [200]
    assert result.overlaps == (Overlap("", "", 200, identical=0, near=200),)
