"""Which images a recipe's data view takes, and how it cuts them: by class, the first n, and as the studies did."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from feredge.data import NO_LABEL, Dataset, split
from feredge.data.selection import select
from feredge.errors import DataError
from feredge.inference.contract import CLASSES
from feredge.recipes.schema import DataView

DEFAULT_VIEW = DataView(drop_duplicates=False, holdout=0.0)


def _dataset(
    count: int = 700, *, usages: tuple[str, ...] = ("Training",) * 8 + ("PublicTest", "PrivateTest")
) -> Dataset:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, count).astype(np.int8)
    usage = np.array(usages)[np.arange(count) % len(usages)]
    images = rng.integers(0, 256, (count, 8, 8, 1), np.uint8)
    return Dataset(images, labels, usage, np.arange(count), CLASSES, "d", "some.csv")


def _view(**changes: object) -> DataView:
    return dataclasses.replace(DEFAULT_VIEW, **changes)  # type: ignore[arg-type]  # values of several types


def test_no_choice_is_no_copy() -> None:
    """Guards recipes without a choice of classes: the very same data set goes on."""
    dataset = _dataset()
    assert select(dataset, DataView()) is dataset


def test_classes_are_kept_grouped_and_ordered_as_named() -> None:
    """Guards the network's outputs: their order is the recipe's, and every image keeps its own row."""
    dataset = _dataset()
    selected = select(dataset, _view(classes=("happy", "bad = sad + angry", "neutral")))
    assert selected.classes == ("happy", "bad", "neutral")
    expected = {"happy": "happy", "sad": "bad", "angry": "bad", "neutral": "neutral"}
    before = [CLASSES[label] for label in dataset.labels[selected.rows]]
    assert [selected.classes[label] for label in selected.labels] == [expected[name] for name in before]
    assert len(selected) == sum(CLASSES[label] in expected for label in dataset.labels)


def test_the_first_of_each_class_in_training_only() -> None:
    """Guards the six-class protocol: the first n training images a class, and every test image."""
    dataset = _dataset()
    selected = select(dataset, _view(limit_per_class=20))
    for label in range(7):
        rows = np.flatnonzero((dataset.usage == "Training") & (dataset.labels == label))[:20]
        np.testing.assert_array_equal(selected.rows[(selected.usage == "Training") & (selected.labels == label)], rows)
    assert (selected.usage != "Training").sum() == (dataset.usage != "Training").sum()


@pytest.mark.parametrize("missing", ["contempt", "sad"])
def test_a_class_that_is_not_there(missing: str) -> None:
    """Guards against a network with an output that nothing was labelled with: a wrong name, or no such images."""
    dataset = _dataset()
    dataset = dataset.take(dataset.labels != CLASSES.index("sad"))
    with pytest.raises(DataError, match=f"some.csv: expected images of the class '{missing}', found angry, .*neutral$"):
        select(dataset, _view(classes=("happy", missing)))


def test_unlabelled_images_are_in_no_class() -> None:
    """Guards against NO_LABEL taken for the last class."""
    dataset = _dataset()
    labels = dataset.labels.copy()
    labels[:50] = NO_LABEL
    selected = select(
        dataclasses.replace(dataset, labels=labels), _view(classes=("neutral", "happy"), limit_per_class=10_000)
    )
    assert selected.rows.min() >= 50 and len(selected) == np.isin(labels, (3, 6)).sum()


def test_study_2022_is_split_as_the_study_did() -> None:
    """Guards 70/15/15: first 70, then the rest halved, random_state 1 both times, of the training rows only."""
    dataset = _dataset(usages=("Training",) * 3 + ("PublicTest",))
    parts = split(dataset, _view(split="random", shares=(0.70, 0.15, 0.15), seed=1))
    rows = np.flatnonzero(dataset.usage == "Training")
    train, rest = train_test_split(rows, test_size=0.3, random_state=1)
    validation, test = train_test_split(rest, test_size=0.5, random_state=1)
    for part, expected in ((parts.train, train), (parts.validation, validation), (parts.test, test)):
        np.testing.assert_array_equal(part.rows, np.sort(expected))


def test_three_class_is_split_as_the_study_did() -> None:
    """Guards 90/10 stratified, random_state 42, over all rows, with the tenth for both figures."""
    dataset = _dataset()
    view = _view(
        classes=("happy", "sad", "neutral"),
        split="random",
        split_rows="all",
        shares=(0.9, 0.1),
        stratified=True,
        seed=42,
        validation_is_test=True,
    )
    parts = split(dataset, view)
    selected = np.flatnonzero(np.isin(dataset.labels, (3, 4, 6)))
    train, test = train_test_split(selected, test_size=0.1, random_state=42, stratify=dataset.labels[selected])
    np.testing.assert_array_equal(parts.train.rows, np.sort(train))
    np.testing.assert_array_equal(parts.test.rows, np.sort(test))
    np.testing.assert_array_equal(parts.validation.rows, parts.test.rows)


def test_published_counts() -> None:
    """Guards the counts that the studies print: 28,709 rows at 70/15/15 and 80/20, 21,264 at 90/10."""
    for count, shares, expected in (
        (28_709, (0.70, 0.15, 0.15), (20_096, 4_306, 4_307)),
        (28_709, (0.8, 0.2), (22_967, 0, 5_742)),
        (21_264, (0.9, 0.1), (19_137, 0, 2_127)),
    ):
        dataset = _dataset(count, usages=("Training",))
        parts = split(dataset, _view(split="random", shares=shares))
        assert (len(parts.train), len(parts.validation), len(parts.test)) == expected


def test_merged_tests() -> None:
    """Guards protocols that test on both test splits: validation then comes out of the training images."""
    dataset = _dataset()
    parts = split(dataset, _view(split="merged", holdout=0.1))
    assert set(parts.test.usage) == {"PublicTest", "PrivateTest"} and len(parts.test) == 140
    assert set(parts.validation.usage) == {"Training"} and len(parts.validation) == 56
    assert len(parts.train) == 504


@settings(max_examples=40)
@given(
    st.sampled_from(["given", "merged", "random"]),
    st.sampled_from(["training", "all"]),
    st.sampled_from([(0.8, 0.2), (0.5, 0.25, 0.25)]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_no_image_on_two_sides(
    split_kind: str, split_rows: str, shares: tuple[float, ...], stratified: bool, seed: int
) -> None:
    """Guards every kind of split: train, validation and test share no image, and the same seed cuts the same."""
    view = _view(split=split_kind, split_rows=split_rows, shares=shares, stratified=stratified, seed=seed, holdout=0.1)
    parts, repeated = split(_dataset(), view), split(_dataset(), view)
    sides = [set(part.rows.tolist()) for part in (parts.train, parts.validation, parts.test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2]) and all(sides)
    np.testing.assert_array_equal(parts.train.rows, repeated.train.rows)


def test_duplicates_leave_a_random_train_too() -> None:
    """Guards `drop_duplicates` in a random split: a picture of test is not in the other splits."""
    dataset = _dataset()
    images = dataset.images.copy()
    images[1::2] = images[::2]
    parts = split(dataclasses.replace(dataset, images=images), _view(split="random", drop_duplicates=True))
    assert parts.dropped > 50  # 280 pairs, of which 32 % are cut apart
    pictures = [{image.tobytes() for image in part.images} for part in (parts.train, parts.test)]
    assert not pictures[0] & pictures[1]


def test_too_few_images_for_the_shares() -> None:
    """Guards a class of one image in a stratified split: one clear line."""
    dataset = _dataset(12)
    with pytest.raises(DataError, match="expected enough images for a split") as caught:
        split(dataset, _view(split="random", stratified=True))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (("0", "1", "2", "3", "4", "5", "6"), CLASSES),
        (("anger", "happiness", "sadness"), ("angry", "happy", "sad")),
        (("3", "Anger"), ("angry", "happy")),
    ],
)
def test_classes_of_fer2013_by_other_names(names: tuple[str, ...], classes: tuple[str, ...]) -> None:
    """Guards labels in the alphabet's order: numbers and synonyms become FER2013's classes in FER2013's order."""
    labels = np.arange(len(names), dtype=np.int8)
    images = np.zeros((len(names), 4, 4, 1), np.uint8)
    usage, rows = np.full(len(names), "train"), np.arange(len(names))
    dataset = Dataset(images, labels, usage, rows, names, "digest", "source")
    named = select(dataset, DataView(class_names="fer2013"))
    assert named.classes == classes
    canonical = {
        "0": "angry",
        "3": "happy",
        "Anger": "angry",
        "anger": "angry",
        "happiness": "happy",
        "sadness": "sad",
    }
    for before, label in zip(names, named.labels, strict=True):
        assert named.classes[label] == canonical.get(before, CLASSES[int(before)] if before.isdigit() else "")
    assert select(dataset, DataView()).classes == names


def test_a_class_that_fer2013_has_not() -> None:
    """Contempt is none of its seven, and must not become another."""
    dataset = Dataset(
        np.zeros((1, 4, 4, 1), np.uint8),
        np.zeros(1, np.int8),
        np.array(["train"]),
        np.arange(1),
        ("contempt",),
        "",
        "x",
    )
    with pytest.raises(DataError, match="found 'contempt'"):
        select(dataset, DataView(class_names="fer2013"))
