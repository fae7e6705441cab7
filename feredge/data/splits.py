"""Cut a data set into train, validation and test, so that no picture is on two sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import NO_LABEL, Dataset, Splits
from feredge.data.duplicates import stand_in
from feredge.data.usage import TESTS, TRAINING, VALIDATION
from feredge.errors import DataError
from feredge.recipe import DataView

TEST_SHARE = 0.15
"""Share of the images set aside for the test where a data set brings no test split."""

Mask = NDArray[np.bool_]


def split(dataset: Dataset, view: DataView) -> Splits:
    """Cut `dataset` in three; unlabelled images are in none.

    Test is PrivateTest, else PublicTest, else `test`, else a share of the training images. Validation is
    PublicTest beside PrivateTest, else `validation`, else `view.holdout` of the training images. Shares are
    taken class by class, and depend on `view.seed` and the rows only.

    With `view.drop_duplicates`, a picture that stands exactly or nearly in test stands in neither of the others,
    and one in validation not in train. Test is never changed, so that it compares with published figures. `train`
    may come out empty, for a data set that is a test split only.

    Raises:
        DataError: no labelled image.
    """
    labelled = dataset.labels != NO_LABEL
    if not labelled.any():
        raise DataError(f"{dataset.source}: expected labelled images, found none")
    rng = np.random.default_rng(view.seed)
    given = {name: labelled & (dataset.usage == name) for name in (*TESTS, VALIDATION)}
    train = original = labelled & np.isin(dataset.usage, TRAINING)
    brought = [name for name in TESTS if given[name].any()]
    test = given[brought[0]] if brought else _share(dataset, train, TEST_SHARE, rng)
    train = train & ~test
    candidates = validation = given["PublicTest" if brought[:2] == ["PrivateTest", "PublicTest"] else VALIDATION]
    if view.drop_duplicates:
        validation = _without(dataset, candidates, test)
        train = _without(dataset, train, test | validation)
    dropped_validation = int((candidates & ~validation).sum())
    if not candidates.any():
        validation = _share(dataset, train, view.holdout, rng)
        train = train & ~validation
        if view.drop_duplicates:
            train = _without(dataset, train, validation)
    dropped = int((original & ~(train | validation | test)).sum())
    return Splits(dataset.take(train), dataset.take(validation), dataset.take(test), dropped, dropped_validation)


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
