"""What is promised of one file's answers on two CPUs."""

from __future__ import annotations

import numpy as np
import pytest

from feredge.inference.artifact import PRECISIONS
from feredge.inspection.probes import answer_bound, compare_answers


def test_every_file_has_a_bound() -> None:
    """Guards a precision that is written, and about which nothing is promised."""
    for precision in PRECISIONS:
        assert all(0 < answer_bound(kind, precision) < 0.1 for kind in ("tflite", "onnx", "ort"))


@pytest.mark.parametrize(("lead", "unexpected"), [(0.05, 0), (0.07, 1)])
def test_classes_may_change_only_where_two_are_close(lead: float, unexpected: int) -> None:
    """Of two classes nearer than twice the bound either may win; a change of any other is seen, in either order."""
    one = np.array([[0.5 + lead / 2, 0.5 - lead / 2, 0.0], [0.1, 0.2, 0.7]], np.float32)
    other = np.array([[0.49, 0.51, 0.0], [0.1, 0.21, 0.69]], np.float32)
    for pair in ((one, other), (other, one)):
        found = compare_answers(*pair, bound=0.03)
        assert (found.changed, found.unexpected) == (1, unexpected)
        assert found.largest == pytest.approx(0.01 + lead / 2)


def test_answers_that_are_no_numbers_are_within_no_bound() -> None:
    """Guards the comparison with a bound, which NaN passes when it is asked the other way round."""
    rows = np.array([[0.5, 0.5]], np.float32)
    assert not compare_answers(rows, rows * np.float32(np.nan), 0.03).largest <= 0.03
