"""What the service counts, in Prometheus' text format.

A collector for prometheus-client, which knows the format. Its own counters in multiprocess mode take a lock and a write
into a mapped file each, about ten times a request. Here a count is one addition in shared memory.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from feredge.errors import PictureError

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
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

    def collect(self) -> Iterator[Metric]:
        """Yield all of it, summed over the processes, as prometheus-client's registries ask for it."""
        width = len(self._own)
        total = [sum(self._all[at::width]) for at in range(width)]
        requests = CounterMetricFamily("feredge_requests", "Requests to /predict by status.", labels=["status"])
        for status, count in zip(STATUSES, total, strict=False):
            if count:
                requests.add_metric([str(status)], count)
        yield requests
        counts = accumulate(total[FIRST_BUCKET : FIRST_BUCKET + len(BUCKETS) + 1])
        yield HistogramMetricFamily(
            "feredge_request_seconds",
            "From a request's headers to its answer.",
            buckets=[(str(limit), count) for limit, count in zip((*BUCKETS, "+Inf"), counts, strict=True)],
            sum_value=total[SECONDS],
        )
        for name, about, at in (
            ("pictures", "Pictures answered.", PICTURES),
            ("pictures_failed", "Pictures that could not be used.", FAILED),
            ("batches", "Batches run.", BATCHES),
            ("batch_seconds", "Seconds spent in batches, over all threads.", BATCH_SECONDS),
        ):
            yield CounterMetricFamily(f"feredge_{name}", about, value=total[at])
        yield GaugeMetricFamily(
            "feredge_pictures_waiting", "Pictures accepted and not yet answered.", value=total[WAITING]
        )
        faces = CounterMetricFamily("feredge_faces", "Faces by label.", labels=["label"])
        for label, at in sorted(self._classes.items()):
            if total[at]:
                faces.add_metric([label], total[at])
        yield faces

    def to_text(self) -> str:
        """Return all of it in Prometheus' text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry).decode()
