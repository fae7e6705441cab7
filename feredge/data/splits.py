"""Cut a data set into train, validation and test, so that no picture is on two sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import NO_LABEL, Dataset, Splits
from feredge.data.duplicates import near_pairs, stand_in
from feredge.data.selection import select
from feredge.data.usage import TESTS, TRAINING, VALIDATION
from feredge.errors import DataError
from feredge.recipes.schema import DataView

TEST_SHARE = 0.15
"""Share of the images set aside for the test where a data set brings no test split."""

Mask = NDArray[np.bool_]


def split(dataset: Dataset, view: DataView) -> Splits:
    """Select the classes that `view` keeps, and cut their images in three; unlabelled images are in none.

    Of the source's own splits, test is PrivateTest, else PublicTest, else `test`, else a share of the training
    images; or all three together where `view.split` is `merged`. Validation is PublicTest beside PrivateTest, else
    `validation`. A `random` split is that of scikit-learn with `random_state=view.seed`. Where there is no
    validation split, it is `view.holdout` of the training images. Shares are taken class by class, and depend on
    `view.seed` and the rows only.

    With `view.drop_duplicates`, a picture that stands exactly or nearly in test stands in neither of the others,
    and one in validation not in train. What the data set holds back stands in neither of the two, and without
    duplicates no copy of it does. Test is never changed, so that it compares with published figures. `train` may come
    out empty, for a data set that is a test split only.

    Raises:
        DataError: no labelled image, a class that is not there, or too few images for the shares.
    """
    held = _held(dataset, view)
    dataset = select(dataset, view)
    labelled = dataset.labels != NO_LABEL
    if not labelled.any():
        raise DataError(f"{dataset.source}: expected labelled images, found none")
    rng = np.random.default_rng(view.seed)
    cut = _random if view.split == "random" else _given
    train, validation, test = cut(dataset, labelled, view, rng)
    to_train, to_validation = train, validation
    free = ~np.isin(dataset.rows, held)
    train, validation = train & free, validation & free
    if view.drop_duplicates:
        validation = _without(dataset, validation, test)
        train = _without(dataset, train, test | validation)
    dropped_validation = int((to_validation & ~validation).sum())
    if view.validation_is_test:
        validation = test & free
    elif not to_validation.any():
        validation = _share(dataset, train, view.holdout, rng)
        train = train & ~validation
        if view.drop_duplicates:
            train = _without(dataset, train, validation)
    dropped = int((to_train & ~(train | validation)).sum())
    return Splits(dataset.take(train), dataset.take(validation), dataset.take(test), dropped, dropped_validation)


def _held(dataset: Dataset, view: DataView) -> NDArray[np.int64]:
    """Return the rows that may neither train nor choose, of every class: a copy may be labelled as another."""
    if dataset.held_back is None:
        return np.empty(0, np.int64)
    held = np.isin(dataset.rows, dataset.held_back)
    free = ~held
    return dataset.rows[~_without(dataset, free, held) if view.drop_duplicates else held]


def _given(dataset: Dataset, labelled: Mask, view: DataView, rng: np.random.Generator) -> tuple[Mask, Mask, Mask]:
    """Return train, validation (maybe empty) and test by the source's own splits."""
    given = {name: labelled & (dataset.usage == name) for name in (*TESTS, VALIDATION)}
    train = labelled & np.isin(dataset.usage, TRAINING)
    brought = [name for name in TESTS if given[name].any()]
    merged = view.split == "merged"
    if brought:
        test = np.any([given[name] for name in (brought if merged else brought[:1])], axis=0)
    else:
        test = _share(dataset, train, TEST_SHARE, rng)
    validation = given["PublicTest" if brought[:2] == ["PrivateTest", "PublicTest"] and not merged else VALIDATION]
    return train & ~test, validation & (not view.validation_is_test), test


def _random(dataset: Dataset, labelled: Mask, view: DataView, rng: np.random.Generator) -> tuple[Mask, Mask, Mask]:
    """Return train, validation (maybe empty) and test, divided by scikit-learn as the studies did."""
    from sklearn.model_selection import train_test_split

    rows = np.flatnonzero(labelled & (np.isin(dataset.usage, TRAINING) | (view.of == "all")))
    train, *shares = view.shares

    def halves(index: NDArray[np.int64], share: float) -> list[NDArray[np.int64]]:
        labels = dataset.labels[index] if view.stratified else None
        result: list[NDArray[np.int64]] = train_test_split(
            index, train_size=share, random_state=view.seed, stratify=labels
        )
        return result

    try:
        parts = halves(rows, train)
        if len(shares) == 2:
            parts[1:] = halves(parts[1], shares[0] / sum(shares))
    except ValueError as error:
        found = f"{len(rows)} images"
        raise DataError(
            f"{dataset.source}: expected enough images for a split by {view.shares}, found {found} ({error})"
        ) from error
    masks = [np.zeros(len(dataset), np.bool_) for _ in range(3)]
    for mask, index in zip((masks[0], *masks[4 - len(view.shares) :]), parts, strict=True):
        mask[index] = True
    return masks[0], masks[1], masks[2]


def stratified_sample(dataset: Dataset, n: int, seed: int) -> Dataset:
    """Return `n` labelled images in the classes' own proportions, each class in it where `n` allows; all if fewer.

    Depends on `seed` and the labels only; for calibration, call it on `Splits.train`. Rows keep their order.
    """
    return dataset.take(_pick(dataset.labels, dataset.labels != NO_LABEL, n, np.random.default_rng(seed)))


def _without(dataset: Dataset, rows: Mask, others: Mask) -> Mask:
    """Return `rows` less those whose picture stands in `others`."""
    result = rows.copy()
    index = np.flatnonzero(rows)
    result[index[stand_in(dataset.images, index, np.flatnonzero(others))]] = False
    return result


def _share(dataset: Dataset, rows: Mask, share: float, rng: np.random.Generator) -> Mask:
    """Return a random `share` of `rows`, class by class."""
    return _pick(dataset.labels, rows, round(share * int(rows.sum())), rng)


def _pick(labels: NDArray[np.int8], rows: Mask, n: int, rng: np.random.Generator) -> Mask:
    """Return `n` random ones of `rows`, class by class."""
    picked = np.zeros(len(labels), np.bool_)
    names, counts = np.unique(labels[rows], return_counts=True)
    for label, quota in zip(names, _quotas(counts, n), strict=True):
        picked[rng.permutation(np.flatnonzero(rows & (labels == label)))[:quota]] = True
    return picked


def _quotas(counts: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Divide `n` in proportion to `counts` by largest remainders; where `n` allows, none gets nothing."""
    if n >= counts.sum():
        return counts
    ideal = n * counts / counts.sum()
    quotas: NDArray[np.int64] = np.floor(ideal).astype(np.int64)
    quotas[np.argsort(quotas - ideal, kind="stable")[: n - quotas.sum()]] += 1
    while n >= len(counts) and not quotas.all():
        quotas[quotas.argmax()] -= 1
        quotas[quotas.argmin()] += 1
    return quotas


def unique_images(dataset: Dataset, splits: Splits) -> NDArray[np.bool_]:
    """Return which test images stand nowhere else in `dataset`, neither exactly nor nearly, nor earlier in the test."""
    tested = np.isin(dataset.rows, splits.test.rows)
    rows, others = np.flatnonzero(tested), np.flatnonzero(~tested)
    unique = ~stand_in(dataset.images, rows, others)
    place = np.zeros(len(dataset), np.int64)
    place[rows] = np.arange(len(rows))
    for first, second in near_pairs(dataset.images, rows):
        unique[np.maximum(place[first], place[second])] = False
    return unique
