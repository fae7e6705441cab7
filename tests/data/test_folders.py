"""Class folders: layouts, class names, pictures of any kind, and what is wrong with a folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from feredge.data import load, summarize
from feredge.errors import DataError
from feredge.inference.contract import CLASSES, Images, InputContract

EDITION_CLASSES = ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral")


def put(path: Path, value: int = 100, shape: tuple[int, ...] = (48, 48)) -> Images:
    """Write a picture with some texture, making its folder; return its pixels."""
    picture = np.full(shape, value, np.uint8)
    picture[: shape[0] // 2] += np.uint8(20)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)
    return picture


def fer2013(root: Path, names: tuple[str, ...] = EDITION_CLASSES) -> Path:
    """Write one picture of each class, the class of label n in value n, to train and test."""
    for label, name in enumerate(names):
        put(root / "train" / name / "im0.png", 10 * label)
        put(root / "test" / name / "im0.png", 10 * label + 1)
    return root


@pytest.mark.parametrize(
    "names",
    [
        EDITION_CLASSES,
        CLASSES,
        ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Neutral"),
    ],
)
def test_fer2013_editions(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Guards the labels: every edition's folders mean FER2013's classes in FER2013's order, not the alphabet's."""
    dataset = load(fer2013(tmp_path, names))
    assert dataset.classes == CLASSES
    assert sorted(zip(dataset.usage.tolist(), dataset.labels.tolist(), strict=True)) == [
        (split, label) for split in ("test", "train") for label in range(7)
    ]
    # Each picture's value says which class it was written for.
    assert (dataset.images[:, 47, 47, 0] // 10 == dataset.labels).all()
    assert dataset.rows.tolist() == list(range(14))


def test_other_classes_keep_their_names(tmp_path: Path) -> None:
    """Guards people's own classes, and a part of FER2013's: taken as they are, in alphabetical order."""
    for name in ("smile", "Blink", "happy"):
        put(tmp_path / name / "a.png")
    dataset = load(tmp_path)
    assert dataset.classes == ("Blink", "happy", "smile")
    assert dataset.labels.tolist() == [0, 1, 2] and set(dataset.usage) == {""}


@pytest.mark.parametrize(("folder", "usage"), [("val", "validation"), ("Validation", "validation"), ("TRAIN", "train")])
def test_names_of_splits(tmp_path: Path, folder: str, usage: str) -> None:
    """Guards the other names that splits have."""
    put(tmp_path / folder / "a" / "1.png")
    assert load(tmp_path).usage.tolist() == [usage]


def test_any_picture(tmp_path: Path) -> None:
    """Guards sizes and colours: the contract's one function makes them the network's input."""
    put(tmp_path / "a" / "1.png", shape=(60, 40))
    colour = put(tmp_path / "a" / "2.jpg", shape=(100, 100, 3))
    put(tmp_path / "a" / "3.PNG", shape=(20, 20, 4))
    dataset = load(tmp_path, size=32)
    assert dataset.images.shape == (3, 32, 32, 1) and dataset.images.dtype == np.uint8
    stored = (tmp_path / "a" / "2.jpg").read_bytes()
    assert (dataset.images[1] == InputContract(32, 32).to_tensor(stored)).all()
    # JPEG is lossy: this flat picture comes back within 3 steps.
    assert abs(int(dataset.images[1, -1, -1, 0]) - int(colour[-1, -1, 0])) <= 3


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """Guards against what systems and people leave in folders."""
    put(tmp_path / "a" / "1.png")
    for junk in (".DS_Store", "a/.hidden.png", "a/notes.txt", "a/._1.png", "readme.md", "a/1.csv"):
        (tmp_path / junk).write_bytes(b"junk")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "a" / "deeper.png").mkdir()
    assert len(load(tmp_path)) == 1


def test_digest_follows_names_and_bytes(tmp_path: Path) -> None:
    """Guards the key of every measured figure: same folder, same digest; any change, another."""
    put(tmp_path / "a" / "1.png", 50)
    put(tmp_path / "b" / "2.png", 60)
    digests = {load(tmp_path).digest, load(tmp_path).digest}
    assert len(digests) == 1
    put(tmp_path / "b" / "2.png", 61)
    digests.add(load(tmp_path).digest)
    (tmp_path / "b" / "2.png").rename(tmp_path / "b" / "3.png")
    digests.add(load(tmp_path).digest)
    (tmp_path / "b").rename(tmp_path / "c")
    digests.add(load(tmp_path).digest)
    assert len(digests) == 4


def test_unreadable_picture(tmp_path: Path) -> None:
    """Guards the error's file name, and `skip_bad_rows`, which keeps rows at their places."""
    for name in ("1", "2", "3"):
        put(tmp_path / "a" / f"{name}.png")
    (tmp_path / "a" / "2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a/2\.png: expected a PNG"):
        load(tmp_path)
    dataset = load(tmp_path, skip_bad_rows=True)
    assert dataset.rows.tolist() == [0, 2] and dataset.skipped == 1 and dataset.labels.tolist() == [0, 0]
    for name in ("1", "3"):
        (tmp_path / "a" / f"{name}.png").write_bytes(b"")
    with pytest.raises(DataError, match="found 3 files, none of which can be read"):
        load(tmp_path, skip_bad_rows=True)


def test_folders_without_classes(tmp_path: Path) -> None:
    """Guards the errors for a folder of something else."""
    with pytest.raises(DataError, match=r"expected class folders \(angry, .*found none"):
        load(tmp_path)
    put(tmp_path / "loose.png")
    with pytest.raises(DataError, match="expected class folders"):
        load(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"train: expected class folders"):
        load(tmp_path)


def test_empty_class_folder(tmp_path: Path) -> None:
    """Guards against training on a class without images."""
    fer2013(tmp_path)
    (tmp_path / "train" / "sad" / "im0.png").unlink()
    with pytest.raises(DataError, match=r"train/sad: expected pictures of this class, found none"):
        load(tmp_path)


def test_a_class_beside_the_splits(tmp_path: Path) -> None:
    """Guards against silently leaving out a folder that is no split."""
    put(tmp_path / "train" / "a" / "1.png")
    put(tmp_path / "extra" / "a" / "1.png")
    with pytest.raises(DataError, match=r"extra: expected only folders of splits"):
        load(tmp_path)


def test_pictures_below_a_class_folder(tmp_path: Path) -> None:
    """Guards folders of subjects, links, and suffixes that OpenCV reads as well; what is no picture is counted."""
    for name in ("cat", "dog"):
        put(tmp_path / "data" / name / "a.png")
        put(tmp_path / "data" / name / "subject" / "b.png")
        (tmp_path / "data" / name / "c.jfif").write_bytes((tmp_path / "data" / name / "a.png").read_bytes())
        (tmp_path / "data" / name / "notes.txt").touch()
        (tmp_path / "data" / name / "broken.png").symlink_to("nowhere")
        put(tmp_path / "elsewhere" / name / "d.png")
        (tmp_path / "data" / name / "link").symlink_to(tmp_path / "elsewhere" / name)
        (tmp_path / "data" / name / "up").symlink_to(tmp_path / "data")
    dataset = load(tmp_path / "data")
    assert np.bincount(dataset.labels).tolist() == [4, 4]
    assert dataset.ignored_files == {".txt": 2, "broken links": 2, "linked folders walked before": 2}
    assert "ignored: 2 .txt, 2 broken links" in summarize(dataset).to_text()


@pytest.mark.parametrize("inner", ["train/happy", "happy", "cat"])
def test_a_folder_too_high(tmp_path: Path, inner: str) -> None:
    """Guards an archive unpacked into a folder of its own: its classes must not become one."""
    put(tmp_path / "archive" / inner / "a.png")
    put(tmp_path / "archive" / inner.replace("train", "test").replace("cat", "dog") / "b.png")
    if inner == "happy":
        put(tmp_path / "archive" / "sad" / "b.png")
    with pytest.raises(DataError, match="archive: expected pictures of one class, found the folders"):
        load(tmp_path)


def test_a_class_in_the_test_split_only(tmp_path: Path) -> None:
    """No network can learn it, and every one would be blamed for it."""
    for name in ("cat", "dog"):
        put(tmp_path / "train" / name / "a.png")
    for name in ("cat", "cow", "dog"):
        put(tmp_path / "test" / name / "a.png")
    counts = summarize(load(tmp_path))
    assert counts.untrained_classes == ("cow",) and "no training images of cow" in counts.to_text()
