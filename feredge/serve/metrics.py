"""What the service counts, in Prometheus' text format."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Any

from feredge.errors import PictureError

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds


class Metrics:
    """Counters of one service. Only the event loop's thread changes them.

    Attributes:
        waiting: pictures accepted and not yet answered.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self._requests: Counter[int] = Counter()
        self._took = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0
        self._batches = 0
        self._batch_seconds = 0.0
        self._pictures = 0
        self._failed = 0
        self._labels: Counter[str] = Counter()

    def request(self, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests[status] += 1
        self._took[bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds

    def batch(self, pictures: int, seconds: float, answers: Sequence[Any]) -> None:
        """Count a batch and what came out of it."""
        self._batches += 1
        self._batch_seconds += seconds
        self._pictures += pictures
        for answer in answers:
            if isinstance(answer, list):
                self._labels.update([face.label for face in answer])
            elif isinstance(answer, PictureError):
                self._failed += 1

    def to_text(self) -> str:
        """Return all of it."""
        lines = [
            *_metric("feredge_requests_total", "counter", "Requests to /predict by status."),
            *(f'feredge_requests_total{{status="{status}"}} {n}' for status, n in sorted(self._requests.items())),
            *_metric("feredge_request_seconds", "histogram", "From a request's first byte to its answer."),
        ]
        under = 0
        for limit, count in zip((*BUCKETS, "+Inf"), self._took, strict=True):
            under += count
            lines.append(f'feredge_request_seconds_bucket{{le="{limit}"}} {under}')
        lines += [f"feredge_request_seconds_sum {self._seconds}", f"feredge_request_seconds_count {under}"]
        for name, kind, about, value in (
            ("pictures_total", "counter", "Pictures answered.", self._pictures),
            ("pictures_failed_total", "counter", "Pictures that could not be used.", self._failed),
            ("pictures_waiting", "gauge", "Pictures accepted and not yet answered.", self.waiting),
            ("batches_total", "counter", "Batches run.", self._batches),
            ("batch_seconds_total", "counter", "Seconds spent in batches, over all threads.", self._batch_seconds),
        ):
            lines += [*_metric(f"feredge_{name}", kind, about), f"feredge_{name} {value}"]
        lines += _metric("feredge_faces_total", "counter", "Faces by label.")
        lines += [f'feredge_faces_total{{label="{label}"}} {n}' for label, n in sorted(self._labels.items())]
        return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
