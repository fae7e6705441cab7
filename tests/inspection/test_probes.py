"""Tolerances between CPUs, and the comparison of outputs by them."""

from __future__ import annotations

import numpy as np
import pytest

from feredge.inference.artifact import PRECISIONS
from feredge.inspection.probes import compare_outputs, probability_tolerance


def test_every_precision_has_a_tolerance() -> None:
    """Guards against a precision that is exported and cannot be verified."""
    for precision in PRECISIONS:
        assert all(0 < probability_tolerance(kind, precision) < 0.1 for kind in ("tflite", "onnx", "ort"))


@pytest.mark.parametrize(("margin", "out_of_tolerance"), [(0.05, 0), (0.07, 1)])
def test_classes_may_change_only_where_two_are_close(margin: float, out_of_tolerance: int) -> None:
    """Of two classes within twice the tolerance either may win; any other change is out of tolerance."""
    one = np.array([[0.5 + margin / 2, 0.5 - margin / 2, 0.0], [0.1, 0.2, 0.7]], np.float32)
    other = np.array([[0.49, 0.51, 0.0], [0.1, 0.21, 0.69]], np.float32)
    for pair in ((one, other), (other, one)):
        comparison = compare_outputs(*pair, tolerance=0.03)
        assert (comparison.changed, comparison.out_of_tolerance) == (1, out_of_tolerance)
        assert comparison.max_difference == pytest.approx(0.01 + margin / 2)


def test_nan_is_within_no_tolerance() -> None:
    """Guards the direction of the comparison: `NaN > tolerance` is False."""
    rows = np.array([[0.5, 0.5]], np.float32)
    assert not compare_outputs(rows, rows * np.float32(np.nan), 0.03).max_difference <= 0.03
