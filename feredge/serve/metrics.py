"""The service's metrics, in Prometheus' text format.

A collector for prometheus-client, which writes the format. Its own counters in multiprocess mode take a lock and a
write to a mapped file each, about ten times per request. Here a count is one addition in shared memory.
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
from feredge.inference.face import UNSURE_LABEL

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
COUNTED_STATUSES = (200, 400, 408, 413, 415, 422, 500, 503)
FIRST_LATENCY_BUCKET = len(COUNTED_STATUSES)
REQUEST_SECONDS, PICTURES_WAITING, BATCH_COUNT, BATCH_SECONDS, PICTURE_COUNT, FAILED_PICTURES, FIRST_LABEL = range(
    FIRST_LATENCY_BUCKET + len(LATENCY_BUCKETS) + 1, FIRST_LATENCY_BUCKET + len(LATENCY_BUCKETS) + 8
)


class Metrics:
    """Counters of one process of a service; the exported values are sums over all processes.

    Each process has a row in shared memory that only its event loop's thread writes: no lock is needed. When a process
    ends, its counts stay, and its replacement continues the row.

    Args:
        classes: the network's class names.
        rows: `Metrics.width(classes)` doubles for each process; None for this process only.
        row: index of this process's row.
    """

    def __init__(self, classes: Sequence[str], rows: Any = None, row: int = 0) -> None:
        width = self.width(classes)
        labels = dict.fromkeys((*classes, UNSURE_LABEL))
        self._labels = {name: FIRST_LABEL + index for index, name in enumerate(labels)}
        self._rows = memoryview(array("d", bytes(8 * width)) if rows is None else rows).cast("B").cast("d")
        self._row = self._rows[row * width : (row + 1) * width]
        self._row[PICTURES_WAITING] = 0  # pictures of a killed process are lost

    @staticmethod
    def width(classes: Sequence[str]) -> int:
        """Return the number of doubles per row."""
        return FIRST_LABEL + len(classes) + 1  # and UNSURE_LABEL

    def request(self, status: int, seconds: float) -> None:
        """Count a finished request."""
        row_values = self._row
        row_values[COUNTED_STATUSES.index(status)] += 1
        row_values[FIRST_LATENCY_BUCKET + bisect_left(LATENCY_BUCKETS, seconds)] += 1
        row_values[REQUEST_SECONDS] += seconds

    def waiting(self, pictures: int) -> None:
        """Set the number of pictures accepted and not yet classified."""
        self._row[PICTURES_WAITING] = pictures

    def batch(self, pictures: int, seconds: float, results: Sequence[Any]) -> None:
        """Count a batch and its results."""
        row_values = self._row
        row_values[BATCH_COUNT] += 1
        row_values[BATCH_SECONDS] += seconds
        row_values[PICTURE_COUNT] += pictures
        for result in results:
            if isinstance(result, list):
                for face in result:
                    row_values[self._labels[face.label]] += 1
            elif isinstance(result, PictureError):
                row_values[FAILED_PICTURES] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, summed over the processes: the interface of prometheus-client's registries."""
        width = len(self._row)
        total = [sum(self._rows[at::width]) for at in range(width)]
        requests = CounterMetricFamily("feredge_requests", "Requests to /predict by status.", labels=["status"])
        for status, count in zip(COUNTED_STATUSES, total, strict=False):
            if count:
                requests.add_metric([str(status)], count)
        yield requests
        counts = accumulate(total[FIRST_LATENCY_BUCKET : FIRST_LATENCY_BUCKET + len(LATENCY_BUCKETS) + 1])
        yield HistogramMetricFamily(
            "feredge_request_seconds",
            "From a request's headers to its answer.",
            buckets=[(str(limit), count) for limit, count in zip((*LATENCY_BUCKETS, "+Inf"), counts, strict=True)],
            sum_value=total[REQUEST_SECONDS],
        )
        for name, description, at in (
            ("pictures", "Pictures answered.", PICTURE_COUNT),
            ("pictures_failed", "Pictures that could not be used.", FAILED_PICTURES),
            ("batches", "Batches run.", BATCH_COUNT),
            ("batch_seconds", "Seconds spent in batches, over all threads.", BATCH_SECONDS),
        ):
            yield CounterMetricFamily(f"feredge_{name}", description, value=total[at])
        yield GaugeMetricFamily(
            "feredge_pictures_waiting", "Pictures accepted and not yet answered.", value=total[PICTURES_WAITING]
        )
        faces = CounterMetricFamily("feredge_faces", "Faces by label.", labels=["label"])
        for label, at in sorted(self._labels.items()):
            if total[at]:
                faces.add_metric([label], total[at])
        yield faces

    def to_text(self) -> str:
        """Return all metrics in Prometheus' text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry).decode()
