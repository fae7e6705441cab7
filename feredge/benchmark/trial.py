"""One subject of a benchmark: a file, how a worker opens it, and what has been found out about it so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark import latency, throttling
from feredge.benchmark.candidates import Subject
from feredge.benchmark.metrics import Cold, Condition, Latency, Memory, Throughput
from feredge.benchmark.results import Effort
from feredge.benchmark.workers.client import Worker, WorkerFailure
from feredge.inference.contract import Images
from feredge.inspection.macs import Macs

CHUNK = 64
"""Images that are sent through a file at once when only its answers count."""
OPENING = 300.0
"""Seconds that TensorFlow or scikit-learn may take to import and to load a file."""
BESIDE = 10.0
"""Seconds, at most, whose shares go to what is timed beside the headline: whole calls, batches, further threads."""
PATIENCE = 60.0
"""Seconds of silence, beyond the work asked for, after which a worker counts as hanging."""

Copy = tuple[str, int]
"""A kind of corruption, and its strength."""


@dataclass
class Trial:
    """What is known of a subject so far.

    Attributes:
        worker: the process that holds the file now.
        probabilities: on every test image.
        named: classes named on corrupted copies.
        samples: nanoseconds of timed runs, by threads and task, one array a round.
        conditions: the machine in each round, by threads.
        taken: turns so far, by threads.
        began: the machine before the first turn of the last round, by threads.
        prepares: whether preprocessing can be timed here.
        macs: multiply-adds of one image, where the file tells.
        fresh: whether the worker has not been timed yet.
        slowest: seconds that CHUNK images took at most, so that a slow file is not taken for a hanging one.
        each: seconds that an answer to a test image took on average.
    """

    subject: Subject
    patience: float = PATIENCE
    worker: Worker | None = None
    failure: str | None = None
    cold: Cold | None = None
    memory: Memory | None = None
    probabilities: NDArray[np.float32] | None = None
    named: dict[Copy, NDArray[np.uint8]] = field(default_factory=dict)
    samples: dict[tuple[int, str], list[NDArray[np.int64]]] = field(default_factory=dict)
    conditions: dict[int, list[Condition]] = field(default_factory=dict)
    taken: dict[int, int] = field(default_factory=dict)
    began: dict[int, throttling.State] = field(default_factory=dict)
    prepares: bool = True
    macs: Macs | None = None
    fresh: bool = True
    slowest: float = 0.0
    each: float = 0.0

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn a worker's failure into this trial's. Reports travel, so no folder of this machine goes with them."""
        try:
            yield
        except WorkerFailure as error:
            self.failure = str(error).replace(str(self.subject.path.absolute()), self.subject.path.name)

    def open(self, worker: Worker, threads: int) -> float:
        """Load the file in `worker`, which is this trial's from now on; return the seconds it took."""
        subject, self.worker, self.fresh = self.subject, worker, True
        foreign = subject.kind == "artifact"  # perhaps: it is not known who wrote it
        answer, _ = worker.ask(
            "open",
            timeout=self.patience if foreign else max(self.patience, OPENING),
            limited=foreign,
            opener=subject.opener,
            path=str(subject.path.absolute()),
            threads=threads,
            options=subject.options,
            contract=asdict(subject.contract),
            classes=len(subject.classes),
        )
        return float(answer["nanoseconds"]) / 1e9

    def start_cold(self, images: Images, starts: int) -> None:
        """Open the file in fresh processes: how long until the first answer, and how much memory that takes."""
        images, loads, firsts, peaks, added = self._fit(images[:CHUNK]), [], [], [], []
        for _ in range(starts):
            with Worker(threads=1) as worker:
                before, _ = worker.ask("memory", timeout=OPENING)  # the process may only just be starting
                loads.append(self.open(worker, 1))
                answer, _ = worker.ask("predict", timeout=self.patience, arrays={"images": images[:1]})
                firsts.append(answer["nanoseconds"] / 1e6)
                for picture in images[1:]:
                    worker.ask("predict", timeout=self.patience, arrays={"images": picture[None]})
                after, _ = worker.ask("memory", timeout=self.patience)
                peaks.append(after["peak"])
                added.append(after["peak"] - before["now"])
        self.cold = Cold(load=float(np.median(loads)) * 1000, first_call=float(np.median(firsts)))
        self.memory = Memory(peak=max(peaks), added=max(added)) if max(peaks) else None  # where the system tells

    def held(self) -> int:
        """Return the bytes that the worker holds for itself now."""
        answer, _ = self._worker.ask("memory", timeout=self.patience)
        return int(answer["own"])

    def look(self, images: Images) -> None:
        """Send every test image through the file."""
        self.probabilities, seconds = self._predict(images)
        self.each = seconds / max(1, len(images))

    def look_again(self, copies: Mapping[Copy, Images]) -> None:
        """Send corrupted copies through the file."""
        for key, pictures in copies.items():
            self.named[key] = self._predict(pictures)[0].argmax(1).astype(np.uint8)

    def _predict(self, images: Images) -> tuple[NDArray[np.float32], float]:
        """Return probabilities, and the seconds that they took."""
        parts, seconds, images = [], 0.0, self._fit(images)
        for start in range(0, len(images), CHUNK):
            answer, arrays = self._worker.ask(
                "predict", timeout=self.patience, arrays={"images": images[start : start + CHUNK]}
            )
            parts.append(arrays["probabilities"])
            seconds += answer["nanoseconds"] / 1e9
            self.slowest = max(self.slowest, answer["nanoseconds"] / 1e9)
        return np.concatenate(parts), seconds

    def count(self) -> None:
        """Count the multiply-adds; a file whose graph cannot be read has none."""
        answer, _ = self._worker.ask("macs", timeout=self.patience, path=str(self.subject.path.absolute()))
        self.macs = Macs(**answer["macs"]) if answer["macs"] else None

    def _fit(self, images: Images) -> Images:
        """Return images in this file's size and channels."""
        contract = self.subject.contract
        return images if images.shape[1:] == contract.shape else contract.to_batch(images)

    def give(self, pictures: Images, crops: Images) -> None:
        """Hand the worker what its calls are timed on."""
        arrays = {"images": self._fit(pictures), "crops": crops}
        answer, _ = self._worker.ask("pictures", timeout=self.patience, arrays=arrays)
        self.prepares = bool(answer["prepares"])

    def turn(self, effort: Effort, threads: int) -> None:
        """Time one turn of every task; a round is `latency.turns` of them."""
        taken, each = self.taken.get(threads, 0), latency.turns(effort)
        begins = taken % each == 0
        if begins:
            self.began[threads] = throttling.read()
        for name, (what, batch, share) in self._tasks(effort).items():
            runs = -(-effort.runs // (effort.rounds * each)) if batch == 1 else 1
            headline = name == "inference" and threads == effort.threads[0]
            seconds = share * (effort.seconds if headline else min(effort.seconds, BESIDE)) / (effort.rounds * each)
            samples = self._time(effort, what, batch, runs, seconds)
            parts = self.samples.setdefault((threads, name), [])
            parts.append(samples if begins else np.concatenate([parts.pop(), samples]))
        self.fresh, self.taken[threads] = False, taken + 1
        conditions = self.conditions.setdefault(threads, [])
        if not begins:
            conditions.pop()
        conditions.append(throttling.between(self.began[threads], throttling.read()))

    def _time(self, effort: Effort, what: str, batch: int, runs: int, seconds: float) -> NDArray[np.int64]:
        # A worker that has run before only needs to bring code and weights back into the caches.
        warm_runs = effort.warm_runs if self.fresh else 1
        warm_seconds = effort.warm_seconds if self.fresh else 0.1 * effort.warm_seconds
        calls = (runs + warm_runs) * self.slowest * max(1, batch / CHUNK)
        _, arrays = self._worker.ask(
            "time",
            timeout=self.patience + 4 * (warm_seconds + seconds + calls),
            what=what,
            batch=batch,
            warm_runs=warm_runs,
            warm_seconds=warm_seconds,
            seconds=seconds,
            runs=runs,
        )
        return cast("NDArray[np.int64]", arrays["samples"])

    def latency(self, effort: Effort, threads: int) -> Latency | None:
        """Sum up the timed runs at `threads`; None when they are not whole."""
        kept = {what: parts for (at, what), parts in self.samples.items() if at == threads}
        if self.taken.get(threads, 0) < effort.rounds * latency.turns(effort):
            return None
        return Latency(
            threads=threads,
            inference=latency.summarize(kept["inference"]),
            preprocess=latency.summarize(kept["preprocess"]) if self.prepares else None,
            whole=latency.summarize(kept["whole"]) if self.prepares else None,
            throughput=tuple(
                Throughput(batch, batch / float(np.median(np.concatenate(kept[_task(batch)]))) * 1e9)
                for batch in effort.batches
            ),
            conditions=tuple(self.conditions[threads]),
        )

    def _tasks(self, effort: Effort) -> dict[str, tuple[str, int, float]]:
        """Return what is timed in a round: name -> (what, batch, share of the inference's time)."""
        found = {"inference": ("inference", 1, 1.0)}
        if self.prepares:
            found |= {"preprocess": ("preprocess", 1, 0.02), "whole": ("whole", 1, 0.2)}
        return found | {_task(batch): ("inference", batch, 0.2) for batch in effort.batches if batch > 1}

    @property
    def _worker(self) -> Worker:
        if self.worker is None:
            raise WorkerFailure("never opened")
        return self.worker


def _task(batch: int) -> str:
    return "inference" if batch == 1 else f"batch {batch}"
