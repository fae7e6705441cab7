"""What the service counts, in Prometheus' text format."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from feredge.errors import PictureError

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})  # in a label's value
STATUSES = (200, 400, 408, 413, 415, 422, 500, 503)
FIRST_BUCKET = len(STATUSES)
SECONDS, WAITING, BATCHES, BATCH_SECONDS, PICTURES, FAILED, FIRST_LABEL = range(
    FIRST_BUCKET + len(BUCKETS) + 1, FIRST_BUCKET + len(BUCKETS) + 8
)


class Metrics:
    """Counters of one process of a service; the text is of all processes.

    Each process has a row of its own in memory that all share, where only its event loop's thread writes: no lock is
    needed, and what a process counted stays when it ends and another takes its row.

    Args:
        classes: the network's class names.
        rows: as many rows of `Metrics.width(classes)` doubles as there are processes; this process only unless given.
        row: the row of this process.
    """

    def __init__(self, classes: Sequence[str], rows: Any = None, row: int = 0) -> None:
        width = self.width(classes)
        self._classes = {name: FIRST_LABEL + index for index, name in enumerate(classes)}
        self._all = memoryview(array("d", bytes(8 * width)) if rows is None else rows).cast("B").cast("d")
        self._own = self._all[row * width : (row + 1) * width]
        self._own[WAITING] = 0  # what waited in a process that was killed waits no more

    @staticmethod
    def width(classes: Sequence[str]) -> int:
        """Return the doubles in a row."""
        return FIRST_LABEL + len(classes)

    def request(self, status: int, seconds: float) -> None:
        """Count an answered request."""
        own = self._own
        own[STATUSES.index(status)] += 1
        own[FIRST_BUCKET + bisect_left(BUCKETS, seconds)] += 1
        own[SECONDS] += seconds

    def waiting(self, pictures: int) -> None:
        """Note how many pictures are accepted and not yet answered."""
        self._own[WAITING] = pictures

    def batch(self, pictures: int, seconds: float, answers: Sequence[Any]) -> None:
        """Count a batch and what came out of it."""
        own = self._own
        own[BATCHES] += 1
        own[BATCH_SECONDS] += seconds
        own[PICTURES] += pictures
        for answer in answers:
            if isinstance(answer, list):
                for face in answer:
                    own[self._classes[face.label]] += 1
            elif isinstance(answer, PictureError):
                own[FAILED] += 1

    def to_text(self) -> str:
        """Return all of it, summed over the processes."""
        width = len(self._own)
        total = [sum(self._all[at::width]) for at in range(width)]
        lines = [
            *_metric("feredge_requests_total", "counter", "Requests to /predict by status."),
            *(
                f'feredge_requests_total{{status="{status}"}} {n:.0f}'
                for status, n in zip(STATUSES, total, strict=False)
                if n
            ),
            *_metric("feredge_request_seconds", "histogram", "From a request's first byte to its answer."),
        ]
        under = 0.0
        for at, limit in enumerate((*BUCKETS, "+Inf"), FIRST_BUCKET):
            under += total[at]
            lines.append(f'feredge_request_seconds_bucket{{le="{limit}"}} {under:.0f}')
        lines += [f"feredge_request_seconds_sum {total[SECONDS]}", f"feredge_request_seconds_count {under:.0f}"]
        for name, kind, about, value in (
            ("pictures_total", "counter", "Pictures answered.", f"{total[PICTURES]:.0f}"),
            ("pictures_failed_total", "counter", "Pictures that could not be used.", f"{total[FAILED]:.0f}"),
            ("pictures_waiting", "gauge", "Pictures accepted and not yet answered.", f"{total[WAITING]:.0f}"),
            ("batches_total", "counter", "Batches run.", f"{total[BATCHES]:.0f}"),
            ("batch_seconds_total", "counter", "Seconds spent in batches, over all threads.", total[BATCH_SECONDS]),
        ):
            lines += [*_metric(f"feredge_{name}", kind, about), f"feredge_{name} {value}"]
        lines += _metric("feredge_faces_total", "counter", "Faces by label.")
        faces = ((label.translate(ESCAPES), total[at]) for label, at in sorted(self._classes.items()))
        lines += [f'feredge_faces_total{{label="{label}"}} {n:.0f}' for label, n in faces if n]
        return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
