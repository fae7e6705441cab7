"""Faces that keep their numbers, and labels that do not flicker."""

from __future__ import annotations

import math

import pytest

from feredge import Face
from feredge.label.tracker import Tracker, iou

CLASSES = ("no", "yes")


def face(yes: float, x: int | None = 0, y: int = 0) -> Face:
    box = None if x is None else (x, y, 100, 100)
    return Face("yes" if yes >= 0.5 else "no", max(yes, 1 - yes), (1 - yes, yes), CLASSES, box)


def test_numbers_stay_with_moving_faces() -> None:
    """Two faces that move, and change their order in the list, keep their numbers."""
    tracker = Tracker()
    first = tracker.update([face(0.9, 0), face(0.1, 300)], 0.0)
    assert [tracked.number for tracked in first] == [0, 1]
    second = tracker.update([face(0.1, 320), face(0.9, 20)], 0.04)
    assert [tracked.number for tracked in second] == [1, 0]
    assert [tracked.face.box for tracked in second] == [(320, 0, 100, 100), (20, 0, 100, 100)]


def test_larger_overlap_wins() -> None:
    """Of two faces over one old box, the nearer is the old one."""
    tracker = Tracker()
    tracker.update([face(0.9, 0)], 0.0)
    assert [tracked.number for tracked in tracker.update([face(0.9, 40), face(0.9, 5)], 0.1)] == [1, 0]


def test_timeout() -> None:
    """A face that was away too long, or jumped, is a new one."""
    tracker = Tracker(timeout_seconds=1.0)
    tracker.update([face(0.9)], 0.0)
    assert tracker.update([], 0.5) == []
    assert tracker.update([face(0.9)], 1.0)[0].number == 0
    assert tracker.update([face(0.9)], 2.1)[0].number == 1
    assert tracker.update([face(0.9, 500)], 2.2)[0].number == 2


@pytest.mark.parametrize("rate", [10, 30])
def test_smoothing_does_not_depend_on_the_frame_rate(rate: int) -> None:
    """After `smoothing` seconds of another answer, 1/e of the old one is left, at any number of frames a second."""
    tracker = Tracker(smoothing_seconds=0.5)
    tracker.update([face(1.0)], 0.0)
    for frame in range(1, rate // 2 + 1):
        calmed = tracker.update([face(0.0)], frame / rate)[0].face
    assert calmed.probabilities["yes"] == pytest.approx(math.exp(-1), abs=1e-9)
    assert calmed.label == "no" and calmed.confidence == calmed.probabilities["no"]


def test_one_odd_frame_does_not_flip_the_label() -> None:
    """The reason for smoothing."""
    for smoothing, wanted in ((0.5, "yes"), (0.0, "no")):
        tracker = Tracker(smoothing_seconds=smoothing)
        for frame in range(10):
            tracker.update([face(0.9)], frame / 25)
        assert tracker.update([face(0.05)], 10 / 25)[0].face.label == wanted


def test_whole_frame_faces() -> None:
    """Where each frame is one face there are no boxes, and it is the same face."""
    tracker = Tracker()
    for frame in range(3):
        tracked = tracker.update([face(0.9, None)], frame / 25)
        assert [(one.number, one.face.box) for one in tracked] == [(0, None)]


def test_iou() -> None:
    """Intersection over union."""
    assert iou((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert iou((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert iou((0, 0, 10, 10), (10, 10, 5, 5)) == 0
