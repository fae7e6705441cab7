"""Split a data set into train, validation and test, with no picture in two of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import NO_LABEL, Dataset, RowIndex, RowMask, Splits
from feredge.data.duplicates import has_duplicate, near_duplicate_pairs
from feredge.data.selection import select
from feredge.data.split_names import TEST_SPLITS, TRAINING_SPLITS, VALIDATION_SPLIT
from feredge.errors import DataError
from feredge.recipes.schema import DataView

TEST_FRACTION = 0.15
"""Fraction of the images split off for the test if the data set has no test split."""


def split(dataset: Dataset, view: DataView) -> Splits:
    """Select the classes of `view`, the recipe's `[data]`, and split their labelled images into three sets.

    With the source's own splits, the test set is PrivateTest if present, otherwise PublicTest, `test`, or a share of
    the training images. If `view.split` is `merged`, it is PrivateTest, PublicTest and `test` together. Validation is
    PublicTest if there is PrivateTest, otherwise `validation`. A `random` split is that of scikit-learn with
    `random_state=view.seed`. Without a validation split, validation is a fraction `view.holdout` of the training
    images. With `view.validation_is_test`, validation is the test set without excluded rows. Shares are stratified by
    class, and depend on `view.seed` and the rows only.

    With `view.drop_duplicates`, exact and near duplicates of test images are dropped from train and validation, those
    of validation images from train, and those of excluded rows from both. Test is never changed, so that it stays
    comparable with published figures. `train` may be empty, for a data set that is a test split only.

    Raises:
        DataError: no labelled image, a missing class, or too few images for the shares.
    """
    excluded = _excluded_rows(dataset, view)
    dataset = select(dataset, view)
    labelled = dataset.labels != NO_LABEL
    if not labelled.any():
        raise DataError(f"{dataset.source}: expected labelled images, found none")
    rng = np.random.default_rng(view.seed)
    split_masks = _random_splits if view.split == "random" else _source_splits
    all_train, all_validation, test = split_masks(dataset, labelled, view, rng)
    allowed = ~np.isin(dataset.rows, excluded)
    train, validation = all_train & allowed, all_validation & allowed
    if view.drop_duplicates:
        validation = _without_duplicates(dataset, validation, test)
        train = _without_duplicates(dataset, train, test | validation)
    dropped_validation = int((all_validation & ~validation).sum())
    if view.validation_is_test:
        validation = test & allowed
    elif not all_validation.any():
        validation = _random_fraction(dataset, train, view.holdout, rng)
        train = train & ~validation
        if view.drop_duplicates:
            train = _without_duplicates(dataset, train, validation)
    dropped = int((all_train & ~(train | validation)).sum())
    return Splits(dataset.take(train), dataset.take(validation), dataset.take(test), dropped, dropped_validation)


def _excluded_rows(dataset: Dataset, view: DataView) -> RowIndex:
    """Return the rows excluded from training and validation, of every class: a duplicate may have another label."""
    if dataset.excluded_rows is None:
        return np.empty(0, np.int64)
    excluded = np.isin(dataset.rows, dataset.excluded_rows)
    if view.drop_duplicates:
        excluded = ~_without_duplicates(dataset, ~excluded, excluded)
    return dataset.rows[excluded]


def _source_splits(
    dataset: Dataset, labelled: RowMask, view: DataView, rng: np.random.Generator
) -> tuple[RowMask, RowMask, RowMask]:
    """Return train, validation (may be empty) and test by the source's own splits."""
    masks = {name: labelled & (dataset.usage == name) for name in (*TEST_SPLITS, VALIDATION_SPLIT)}
    train = labelled & np.isin(dataset.usage, TRAINING_SPLITS)
    test_names = [name for name in TEST_SPLITS if masks[name].any()]
    merged = view.split == "merged"
    if test_names:
        test = np.any([masks[name] for name in (test_names if merged else test_names[:1])], axis=0)
    else:
        test = _random_fraction(dataset, train, TEST_FRACTION, rng)
    public_is_validation = test_names[:2] == ["PrivateTest", "PublicTest"] and not merged
    validation = masks["PublicTest" if public_is_validation else VALIDATION_SPLIT]
    return train & ~test, validation & (not view.validation_is_test), test


def _random_splits(
    dataset: Dataset, labelled: RowMask, view: DataView, rng: np.random.Generator
) -> tuple[RowMask, RowMask, RowMask]:
    """Return train, validation (may be empty) and test, split by scikit-learn as in the published studies."""
    from sklearn.model_selection import train_test_split

    rows = np.flatnonzero(labelled & (np.isin(dataset.usage, TRAINING_SPLITS) | (view.split_rows == "all")))
    train, *shares = view.shares

    def split_in_two(index: RowIndex, share: float) -> list[RowIndex]:
        labels = dataset.labels[index] if view.stratified else None
        result: list[RowIndex] = train_test_split(index, train_size=share, random_state=view.seed, stratify=labels)
        return result

    try:
        parts = split_in_two(rows, train)
        if len(shares) == 2:
            parts[1:] = split_in_two(parts[1], shares[0] / sum(shares))
    except ValueError as error:
        raise DataError(
            f"{dataset.source}: expected enough images for a split by {view.shares}, found {len(rows)} images ({error})"
        ) from error
    masks = [np.zeros(len(dataset), np.bool_) for _ in range(3)]
    # two shares: train and test; three: train, validation and test
    for mask, index in zip((masks[0], *masks[4 - len(view.shares) :]), parts, strict=True):
        mask[index] = True
    return masks[0], masks[1], masks[2]


def stratified_sample(dataset: Dataset, n: int, seed: int) -> Dataset:
    """Return a stratified sample of `n` labelled images, with every class in it if `n` allows; all if there are fewer.

    Depends on `seed` and the labels only; for calibration, call it on `Splits.train`. Rows keep their order.
    """
    return dataset.take(_sample(dataset.labels, dataset.labels != NO_LABEL, n, np.random.default_rng(seed)))


def _without_duplicates(dataset: Dataset, rows: RowMask, references: RowMask) -> RowMask:
    """Return `rows` without exact and near duplicates of `references`."""
    result = rows.copy()
    index = np.flatnonzero(rows)
    result[index[has_duplicate(dataset.images, index, np.flatnonzero(references))]] = False
    return result


def _random_fraction(dataset: Dataset, rows: RowMask, fraction: float, rng: np.random.Generator) -> RowMask:
    """Return a stratified random `fraction` of `rows`."""
    return _sample(dataset.labels, rows, round(fraction * int(rows.sum())), rng)


def _sample(labels: NDArray[np.int8], rows: RowMask, n: int, rng: np.random.Generator) -> RowMask:
    """Return a stratified random sample of `n` of `rows`."""
    sampled = np.zeros(len(labels), np.bool_)
    classes, counts = np.unique(labels[rows], return_counts=True)
    for label, quota in zip(classes, _quotas(counts, n), strict=True):
        sampled[rng.permutation(np.flatnonzero(rows & (labels == label)))[:quota]] = True
    return sampled


def _quotas(counts: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Apportion `n` in proportion to `counts` by the largest remainders; where `n` allows, no quota is 0."""
    if n >= counts.sum():
        return counts
    ideal = n * counts / counts.sum()
    quotas: NDArray[np.int64] = np.floor(ideal).astype(np.int64)
    quotas[np.argsort(quotas - ideal, kind="stable")[: n - quotas.sum()]] += 1
    while n >= len(counts) and not quotas.all():
        quotas[quotas.argmax()] -= 1
        quotas[quotas.argmin()] += 1
    return quotas


def unique_test_mask(dataset: Dataset, splits: Splits) -> RowMask:
    """Return which test images have no exact or near duplicate elsewhere in `dataset`, nor earlier in the test set."""
    in_test = np.isin(dataset.rows, splits.test.rows)
    rows = np.flatnonzero(in_test)
    unique = ~has_duplicate(dataset.images, rows, np.flatnonzero(~in_test))
    position = np.zeros(len(dataset), np.int64)
    position[rows] = np.arange(len(rows))
    for first, second in near_duplicate_pairs(dataset.images, rows):
        unique[np.maximum(position[first], position[second])] = False
    return unique
