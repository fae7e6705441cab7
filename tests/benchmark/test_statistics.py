"""Statistics against scipy, against textbook values, and in their known failure cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feredge.benchmark import statistics
from feredge.benchmark.accuracy import accuracy, accuracy_drop, risk_coverage, verdict

stats = pytest.importorskip("scipy.stats")
IMAGE_COUNTS = st.integers(0, 400)


@given(correct=IMAGE_COUNTS, wrong=IMAGE_COUNTS)
def test_wilson_interval_equals_scipys(correct: int, wrong: int) -> None:
    """Guards the interval's formula, ends included; 1e-9 is rounding."""
    if correct + wrong == 0:
        return
    expected = stats.binomtest(correct, correct + wrong).proportion_ci(method="wilson")
    assert statistics.wilson_interval(correct, correct + wrong) == pytest.approx(
        (expected.low, expected.high), abs=1e-9
    )


@given(lost=IMAGE_COUNTS, won=IMAGE_COUNTS)
def test_mcnemar_equals_the_exact_binomial_test(lost: int, won: int) -> None:
    """Guards the tail sum, whose integers pass 2**800."""
    expected = stats.binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert statistics.mcnemar_p_value(lost, won) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("lost", "won", "images"), [(120, 60, 3589), (30, 25, 500), (5, 0, 200)])
def test_bootstrap_equals_resampling_of_images(lost: int, won: int, images: int) -> None:
    """Guards the multinomial short cut against resampling images one by one; 0.0015 is both samples' noise."""
    values = np.repeat([1, -1, 0], [lost, won, images - lost - won])
    random = np.random.default_rng(5)
    means = [random.choice(values, images).mean() for _ in range(4000)]
    assert statistics.bootstrap_interval(lost, won, images, seed=1) == pytest.approx(
        tuple(np.quantile(means, (0.025, 0.975))), abs=1.5e-3 * 3589 / images
    )


def test_bootstrap_is_seeded() -> None:
    """Guards figures that change from one run to the next."""
    assert statistics.bootstrap_interval(40, 20, 1000, seed=3) == statistics.bootstrap_interval(40, 20, 1000, seed=3)


def test_intervals_cover_the_true_drop() -> None:
    """Guards both intervals' coverage: 95% of them should hold the true drop; 200 trials give 95 +- 3%."""
    random = np.random.default_rng(7)
    shares, images = (0.06, 0.04, 0.90), 800
    covered = np.zeros(2)
    for lost, won, _ in random.multinomial(images, shares, size=200):
        bootstrap = statistics.bootstrap_interval(lost, won, images, seed=1)
        bonett_price = statistics.bonett_price_interval(lost, won, images)
        for index, (low, high) in enumerate((bootstrap, bonett_price)):
            covered[index] += low <= shares[0] - shares[1] <= high
    assert (covered / 200 > 0.91).all()


def test_risk_coverage() -> None:
    """Guards the curve: by hand, and images of equal confidence in any order."""
    confidence = np.array([0.9, 0.9, 0.6, 0.5], np.float32)
    correct = np.array([True, False, True, False])
    curve = risk_coverage(confidence, correct)
    assert curve == risk_coverage(confidence[[1, 0, 2, 3]], correct[[1, 0, 2, 3]])
    assert curve.area == pytest.approx(1 - (0.5 + 0.5 + 2 / 3 + 0.5) / 4)
    assert [curve.precision[percent - 1] for percent in (25, 50, 75, 100)] == [0.5, 0.5, 0.666667, 0.5]
    assert (curve.coverage_at(0.6), curve.coverage_at(0.7), curve.coverage_at(0.5)) == (0.75, 0, 1)


def test_few_images_never_prove_equivalence() -> None:
    """Guards few images without a difference: the bootstrap's interval is a point, which proves nothing."""
    labels = np.arange(20) % 4
    same = np.eye(4, dtype=np.float32)[labels]
    result = accuracy_drop(same, same, labels, margin=1.0, seed=1)
    assert (result.low, result.high, result.pp) == (0, 0, 0)
    assert result.verdict == "no evidence of a drop"
    many = np.tile(labels, 100)
    result = accuracy_drop(same[many], same[many], labels[many], margin=1.0, seed=1)
    assert result.verdict == "equivalent within the margin"


@pytest.mark.parametrize(
    ("drop_pp", "p", "ends", "expected"),
    [
        (0.3, 0.01, (0.1, 0.5), "equivalent within the margin"),
        (1.3, 0.01, (0.4, 2.2), "drop"),
        (0.5, 0.20, (-0.3, 1.3), "no evidence of a drop"),
        (-2.0, 0.01, (-3.0, -1.1), "gain"),
        (-0.5, 0.20, (-1.3, 0.3), "no evidence of a drop"),
        (-0.3, 0.01, (-0.5, -0.1), "equivalent within the margin"),
        (1.8, 0.064, (0.2, 3.6), "drop"),
    ],
)
def test_verdicts(drop_pp: float, p: float, ends: tuple[float, float], expected: str) -> None:
    """Guards the verdicts: half a point is not a drop by itself, and a significant gain is called so."""
    assert verdict(drop_pp, p, ends, 1.0) == expected


def test_accuracy_of_a_small_case() -> None:
    """Guards recall, confusion, ties and an absent class on a case small enough to do by hand."""
    probabilities = np.array([[0.5, 0.5, 0], [0.9, 0.1, 0], [0.2, 0.8, 0], [0.6, 0.4, 0]], np.float32)
    result = accuracy(probabilities, np.array([0, 0, 1, 1]))
    assert (result.correct, result.images, result.accuracy, result.ties) == (3, 4, 0.75, 1)
    assert result.recall == (1.0, 0.5, None)
    assert result.confusion == ((2, 0, 0), (1, 1, 0), (0, 0, 0))
    # bins of 1/15: 0.5 (gap 0.5), 0.6 (gap -0.6), 0.8 (0.2), 0.9 (0.1), each of one image
    assert result.ece == pytest.approx((0.5 + 0.6 + 0.2 + 0.1) / 4, abs=1e-6)


def test_drop_compares_image_by_image() -> None:
    """Guards the direction of every sign, and the flips' axes."""
    labels = np.array([0, 0, 0, 1, 1, 2])
    before = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 0, 2]]
    after = np.eye(3, dtype=np.float32)[[0, 1, 1, 1, 1, 2]]
    result = accuracy_drop(before, after, labels, margin=1.0, seed=1)
    assert (result.lost, result.won) == (2, 1) and result.pp == pytest.approx(100 / 6)
    assert result.recall == pytest.approx((-200 / 3, 50, 0))
    assert result.flips == ((0, 3, 0), (0, 0, 0), (0, 0, 0))
    assert result.agreement == 0.5
    assert result.low <= result.pp <= result.high
