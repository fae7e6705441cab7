"""Splits: which rows are in which split, no picture in two splits, and the same splits for the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feredge.data import drawn, split, stratified_sample, unique_test_mask
from feredge.data.dataset import NO_LABEL, Dataset, Splits
from feredge.data.duplicates import near_duplicate_pairs
from feredge.errors import DataError
from feredge.recipes.schema import DataView


def faces(usage: list[str], seed: int = 0, copies: float = 0.0) -> Dataset:
    """Return random pictures in three classes; a share of them are exact or near copies of others."""
    rng = np.random.default_rng(seed)
    count = len(usage)
    images = rng.integers(0, 200, (count, 48, 48))
    for row in np.flatnonzero(rng.random(count) < copies):
        images[row] = images[rng.integers(count)] + rng.integers(0, 4, (48, 48)) * rng.integers(2)
    return Dataset(
        images=images[..., None].astype(np.uint8),
        labels=(np.arange(count) % 3).astype(np.int8),
        usage=np.array(usage),
        rows=np.arange(count),
        classes=("a", "b", "c"),
        digest="0" * 64,
        source="faces",
    )


def rows(splits: Splits) -> tuple[list[int], list[int], list[int]]:
    """Return the rows of train, validation and test."""
    return splits.train.rows.tolist(), splits.validation.rows.tolist(), splits.test.rows.tolist()


def leaks(splits: Splits) -> int:
    """Return the number of near duplicate pairs in two different splits, by comparing every pair."""
    parts = (splits.train, splits.validation, splits.test)
    flat = np.concatenate([part.images for part in parts]).reshape(sum(map(len, parts)), -1)
    side = np.repeat(np.arange(3), [len(part) for part in parts])
    return int((np.triu(np.corrcoef(flat) > 0.995, 1) & (side[:, None] != side)).sum())


KAGGLE_USAGE = ["Training"] * 60 + ["PublicTest"] * 20 + ["PrivateTest"] * 20


@pytest.mark.parametrize(
    ("usage", "validation", "test"),
    [
        (KAGGLE_USAGE, "PublicTest", "PrivateTest"),
        (["Training"] * 60 + ["PublicTest"] * 20, "Training", "PublicTest"),
        (["train"] * 60 + ["test"] * 20, "train", "test"),
        (["train"] * 60 + ["test"] * 20 + ["validation"] * 20, "validation", "test"),
        (["train"] * 60 + ["validation"] * 20, "validation", "train"),
        ([""] * 60, "", ""),
    ],
)
def test_what_each_edition_brings(usage: list[str], validation: str, test: str) -> None:
    """Guards which split is measured on, and which one choices are made on."""
    dataset = faces(usage)
    splits = split(dataset, DataView(holdout=0.1))
    assert set(splits.validation.usage) == {validation}
    assert set(splits.test.usage) == {test}
    assert set(splits.train.usage) <= {"Training", "train", ""}
    assert sorted(row for part in rows(splits) for row in part) == list(range(len(usage)))
    for part, name, share in ((splits.validation, validation, 0.1), (splits.test, test, 0.15)):
        split_size = usage.count(name)
        assert len(part) == split_size or abs(len(part) - share * 60) <= 1.5


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 1000), kind=st.sampled_from(["kaggle", "public", "folder", "none"]), holdout=st.floats(0, 0.5)
)
def test_no_picture_is_on_two_sides(seed: int, kind: str, holdout: float) -> None:
    """Guards against leakage: an exact or near duplicate of a test or validation image in train."""
    usage = {
        "kaggle": KAGGLE_USAGE,
        "public": KAGGLE_USAGE[:80],
        "folder": ["train"] * 60 + ["test"] * 20,
        "none": [""] * 80,
    }[kind]
    dataset = faces(usage, seed, copies=0.4)
    splits = split(dataset, DataView(holdout=holdout, seed=seed))
    assert leaks(splits) == 0
    if kind != "none":
        test_usage = {"kaggle": "PrivateTest", "public": "PublicTest", "folder": "test"}[kind]
        assert len(splits.test) == usage.count(test_usage)  # test is never changed
    left_out = len(dataset) - sum(map(len, rows(splits)))
    assert left_out == splits.dropped + splits.dropped_validation


def test_the_case_above_has_leaks() -> None:
    """Guards the test before this one against passing for want of copies."""
    splits = split(faces(KAGGLE_USAGE, 1, copies=0.4), DataView(drop_duplicates=False))
    assert leaks(splits) > 5
    assert splits.dropped == splits.dropped_validation == 0
    assert sum(map(len, rows(splits))) == 100


def test_counts_what_is_dropped() -> None:
    """Guards the counts in the run folder: a training image counts once, whatever its number of duplicates."""
    dataset = faces(KAGGLE_USAGE)
    dataset.images[3] = dataset.images[65]
    dataset.images[3 + 1] = dataset.images[90]
    dataset.images[91] = dataset.images[3 + 1]
    dataset.images[66] = dataset.images[92]
    splits = split(dataset, DataView())
    assert (splits.dropped, splits.dropped_validation) == (2, 1)
    assert not {3, 4} & set(splits.train.rows.tolist()) and 66 not in splits.validation.rows


def test_copies_do_not_straddle_the_holdout() -> None:
    """Guards the holdout: here the training split has every picture twice."""
    dataset = faces(["Training"] * 100 + ["PublicTest"] * 3)
    dataset.images[50:100] = dataset.images[:50]
    splits = split(dataset, DataView(holdout=0.2))
    assert len(splits.validation) == 20 and splits.dropped > 5
    assert leaks(splits) == 0


def test_same_seed_same_cut() -> None:
    """Guards resuming: training, export and bench cut the data each for themselves."""
    dataset = faces([""] * 90, copies=0.2)
    assert rows(split(dataset, DataView(seed=4))) == rows(split(dataset, DataView(seed=4)))
    assert rows(split(dataset, DataView(seed=4))) != rows(split(dataset, DataView(seed=5)))


def test_shares_are_stratified() -> None:
    """Guards rare classes: each keeps its share in every part."""
    dataset = faces([""] * 1000)
    dataset.labels[:] = np.repeat([0, 1, 2], [900, 80, 20])
    splits = split(dataset, DataView(holdout=0.1))
    assert np.bincount(splits.test.labels).tolist() == [135, 12, 3]
    assert np.bincount(splits.validation.labels, minlength=3).tolist() == [76, 7, 2]  # of the remaining 765, 68 and 17


def test_unlabelled_rows_enter_nowhere() -> None:
    """Guards against rows without a label in training, and a PrivateTest without labels as the test split."""
    dataset = faces(KAGGLE_USAGE)
    dataset.labels[80:] = NO_LABEL
    dataset.labels[::7] = NO_LABEL
    splits = split(dataset, DataView())
    assert set(splits.test.usage) == {"PublicTest"}
    assert all((part.labels >= 0).all() for part in (splits.train, splits.validation, splits.test))
    dataset.labels[:] = NO_LABEL
    with pytest.raises(DataError, match="expected labelled images, found none"):
        split(dataset, DataView())


def test_a_test_split_alone() -> None:
    """Guards benchmarks on a data set that is nothing but a test split."""
    splits = split(faces(["test"] * 9), DataView())
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [0, 0, 9]


def test_no_holdout() -> None:
    """Guards `holdout = 0`."""
    assert len(split(faces(KAGGLE_USAGE[:80]), DataView(holdout=0.0)).validation) == 0


@settings(deadline=None)
@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=3), n=st.integers(1, 200), seed=st.integers(0, 9))
def test_sample_is_stratified(counts: list[int], n: int, seed: int) -> None:
    """Guards calibration: the asked number, the classes' proportions, no class left out that there is room for."""
    dataset = faces([""] * (sum(counts) + 2))
    dataset.labels[:] = np.repeat([*range(len(counts)), NO_LABEL], [*counts, 2])
    sample = stratified_sample(dataset, n, seed)
    total = sum(counts)
    assert len(sample) == min(n, total)
    assert (np.diff(sample.rows) > 0).all()
    got = np.bincount(sample.labels, minlength=len(counts))
    assert (got <= counts).all()
    if n >= len(counts):
        assert got.all()
        # A class that is lifted to one image costs others at most one each.
        assert (abs(got - min(n, total) * np.array(counts) / total) < len(counts)).all()
    repeated = stratified_sample(dataset, n, seed)
    assert repeated.rows.tolist() == sample.rows.tolist()


def test_sample_follows_its_seed() -> None:
    """Guards against the first rows of each class, which need not be like the rest."""
    dataset = faces([""] * 300)
    first, second = (stratified_sample(dataset, 30, seed).rows.tolist() for seed in (1, 2))
    assert first != second and max(first) > 200


def test_real_splits(real_data: object) -> None:
    """Guards the real file's cut: train, a holdout of it, PublicTest, and no near pair between them."""
    from feredge.data import load

    dataset = load(f"{real_data}/fer2013.csv")
    splits = split(dataset, DataView(holdout=0.2))
    assert len(splits.test) == 60 and len(splits.validation) == 12
    assert len(splits.train) == 48 - splits.dropped
    parts = np.concatenate(rows(splits)[:2]), np.array(rows(splits)[2])
    assert not list(near_duplicate_pairs(dataset.images, *parts))


def test_repeated_test_images_are_found() -> None:
    """Guards the accuracy without duplicates: a training image, exact or nearly so, and a repeat in the test itself."""
    faces = drawn(700)
    images = faces.images.copy()
    train, test = (np.flatnonzero(faces.usage == name) for name in ("Training", "PrivateTest"))
    images[test[3]] = images[train[7]]
    images[test[4]] = np.clip(images[train[8]].astype(int) + 2, 0, 255)
    images[test[9]] = images[test[6]]
    changed = replace(faces, images=images)
    splits = split(changed, DataView())
    assert np.flatnonzero(~unique_test_mask(changed, splits)).tolist() == [3, 4, 9]
