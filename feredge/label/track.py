"""Following faces from frame to frame, and calming what is said of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from feredge.inference.face import Face

Box = tuple[int, int, int, int]
WHOLE = (0, 0, 1, 1)  # of a face without a box, which is the whole frame


@dataclass(frozen=True)
class Tracked:
    """A face along a video: `number` stays with it while it is seen; `face` holds calmed scores."""

    number: int
    face: Face


@dataclass
class _Track:
    number: int
    box: Box
    scores: tuple[float, ...]
    seen: float  # seconds into the video


class Tracker:
    """Gives faces numbers that last, and averages their scores over time.

    A face is the one that was last seen where its box overlaps most. Scores are averaged exponentially: what was
    seen `smoothing` seconds ago counts 1/e as much as what is seen now, whatever the frame rate.

    Args:
        smoothing: seconds; 0 gives each frame's own scores.
        patience: seconds after which a face that was not seen is forgotten.
        overlap: least intersection over union of two boxes of one face.
    """

    def __init__(self, *, smoothing: float = 0.5, patience: float = 1.0, overlap: float = 0.3) -> None:
        self.smoothing = smoothing
        self.patience = patience
        self.overlap = overlap
        self._tracks: list[_Track] = []
        self._next = 0

    def update(self, faces: Sequence[Face], time: float) -> list[Tracked]:
        """Return the faces of the frame at `time` (seconds), in their order, numbered and calmed."""
        self._tracks = [track for track in self._tracks if time - track.seen <= self.patience]
        taken = self._match([face.box or WHOLE for face in faces])
        return [self._follow(face, taken.get(index), time) for index, face in enumerate(faces)]

    def _match(self, boxes: Sequence[Box]) -> dict[int, _Track]:
        """Pair faces with tracks, the largest overlaps first."""
        pairs = [
            (share, index, place)
            for index, box in enumerate(boxes)
            for place, track in enumerate(self._tracks)
            if (share := overlap(box, track.box)) >= self.overlap
        ]
        taken: dict[int, _Track] = {}
        used: set[int] = set()
        for _, index, place in sorted(pairs, reverse=True):
            if index not in taken and place not in used:
                taken[index] = self._tracks[place]
                used.add(place)
        return taken

    def _follow(self, face: Face, track: _Track | None, time: float) -> Tracked:
        box = face.box or WHOLE
        if track is None:
            track = _Track(self._next, box, face.scores, time)
            self._next += 1
            self._tracks.append(track)
        else:
            old = math.exp((track.seen - time) / self.smoothing) if self.smoothing > 0 else 0.0
            track.scores = tuple(
                old * before + (1 - old) * now for before, now in zip(track.scores, face.scores, strict=True)
            )
            track.box, track.seen = box, time
        best = max(range(len(track.scores)), key=track.scores.__getitem__)
        calmed = replace(face, label=face.classes[best], confidence=track.scores[best], scores=track.scores)
        return Tracked(track.number, calmed)


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes `(x, y, width, height)`, 0 to 1."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(0, across) * max(0, down)
    return both / (one[2] * one[3] + other[2] * other[3] - both)
