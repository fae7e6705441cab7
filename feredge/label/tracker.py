"""Face tracking from frame to frame, and temporal smoothing of the class probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from feredge.inference.face import UNSURE_LABEL, Face, PixelBox

FULL_FRAME_BOX = (0, 0, 1, 1)  # of a face without a box, which is the full frame


@dataclass(frozen=True)
class TrackedFace:
    """A face in a video: `number` identifies its track, `face` has smoothed scores."""

    number: int
    face: Face


@dataclass
class _Track:
    number: int
    box: PixelBox
    scores: tuple[float, ...]
    last_time: float  # seconds into the video


class Tracker:
    """Assigns faces to numbered tracks, and smooths their scores over time.

    A face continues the track whose last box it overlaps most. Scores are averaged exponentially: the weight of old
    scores falls to 1/e within `smoothing_seconds`, independent of the frame rate.

    Args:
        smoothing_seconds: time constant; 0 disables smoothing.
        timeout_seconds: time without a detection after which a track ends.
        min_iou: minimum intersection over union of consecutive boxes of a track.
        threshold: smoothed confidence below which a face is `unsure`, as `Predictor.threshold`. It is chosen on single
            images: of averaged scores its precision is no longer guaranteed.
    """

    def __init__(
        self,
        *,
        smoothing_seconds: float = 0.5,
        timeout_seconds: float = 1.0,
        min_iou: float = 0.3,
        threshold: float = 0.0,
    ) -> None:
        self.smoothing_seconds = smoothing_seconds
        self.timeout_seconds = timeout_seconds
        self.min_iou = min_iou
        self.threshold = threshold
        self._tracks: list[_Track] = []
        self._next_number = 0

    def update(self, faces: Sequence[Face], time: float) -> list[TrackedFace]:
        """Return the faces of the frame at `time` (seconds), in their order, with track numbers and smoothed scores."""
        self._tracks = [track for track in self._tracks if time - track.last_time <= self.timeout_seconds]
        matches = self._match([face.box or FULL_FRAME_BOX for face in faces])
        return [self._update_track(face, matches.get(index), time) for index, face in enumerate(faces)]

    def _match(self, boxes: Sequence[PixelBox]) -> dict[int, _Track]:
        """Match boxes with tracks greedily, by descending overlap; return each matched box's track, by box index."""
        candidates = [
            (overlap, index, track_index)
            for index, box in enumerate(boxes)
            for track_index, track in enumerate(self._tracks)
            if (overlap := iou(box, track.box)) >= self.min_iou
        ]
        matches: dict[int, _Track] = {}
        matched_tracks: set[int] = set()
        for _, index, track_index in sorted(candidates, reverse=True):
            if index not in matches and track_index not in matched_tracks:
                matches[index] = self._tracks[track_index]
                matched_tracks.add(track_index)
        return matches

    def _update_track(self, face: Face, track: _Track | None, time: float) -> TrackedFace:
        box = face.box or FULL_FRAME_BOX
        if track is None:
            track = _Track(self._next_number, box, face.scores, time)
            self._next_number += 1
            self._tracks.append(track)
        else:
            elapsed = time - track.last_time
            decay = math.exp(-elapsed / self.smoothing_seconds) if self.smoothing_seconds > 0 else 0.0
            track.scores = tuple(
                decay * old + (1 - decay) * new for old, new in zip(track.scores, face.scores, strict=True)
            )
            track.box, track.last_time = box, time
        best = max(range(len(track.scores)), key=track.scores.__getitem__)
        confidence = track.scores[best]
        sure = confidence >= self.threshold
        label = face.classes[best] if sure else UNSURE_LABEL
        smoothed = replace(face, label=label, confidence=confidence, scores=track.scores, sure=sure)
        return TrackedFace(track.number, smoothed)


def iou(one: PixelBox, other: PixelBox) -> float:
    """Return the intersection over union of two boxes `(x, y, width, height)`, 0 to 1."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    intersection = max(0, width) * max(0, height)
    return intersection / (one[2] * one[3] + other[2] * other[3] - intersection)
