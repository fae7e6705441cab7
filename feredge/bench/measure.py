"""The measuring itself: each subject in worker processes of its own, one awake at a time.

Three stages: cold start and memory in fresh processes; accuracy over every test image; latency in interleaved
rounds. A subject that fails in one is left out of the next, and the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.bench import corruptions, latency
from feredge.bench.process import Worker, WorkerFailure
from feredge.bench.results import Cold, Effort, Kind, Latency, Memory, Throughput
from feredge.contract import Images, InputContract
from feredge.progress import Progress, quiet

CHUNK = 64
OPENING = 300.0
"""Seconds that a runtime may take to import and to load a file."""
PATIENCE = 60.0
"""Seconds of silence, beyond the work asked for, after which a worker counts as hanging."""


@dataclass(frozen=True)
class Subject:
    """Something to measure: a file, and how a worker opens it.

    Attributes:
        opener: `module:name` of a class or function, called `name(path, threads=...)`, that returns a runner.
        classes: as the file orders them; other classes than the data's are a failure.
    """

    name: str
    kind: Kind
    format: str
    variant: str
    precision: str
    path: Path
    opener: str
    contract: InputContract
    classes: tuple[str, ...]


@dataclass
class Trial:
    """What is known of a subject so far."""

    subject: Subject
    failure: str | None = None
    cold: Cold | None = None
    memory: Memory | None = None
    probabilities: NDArray[np.float32] | None = None
    named: dict[tuple[str, int], NDArray[np.uint8]] = field(default_factory=dict)  # on corrupted copies
    slowest: float = 0.0  # seconds for CHUNK images, so that a slow file is not taken for a hanging one
    samples: dict[tuple[int, str], list[NDArray[np.int64]]] = field(default_factory=dict)

    @property
    def copies(self) -> dict[tuple[str, int], NDArray[np.uint8]]:
        """The classes named on corrupted copies; empty unless all are there."""
        return self.named if len(self.named) == sum(map(len, corruptions.STRENGTHS.values())) else {}

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn a worker's failure into this trial's. Reports travel, so no folder of this machine goes with them."""
        try:
            yield
        except WorkerFailure as error:
            self.failure = str(error).replace(str(self.subject.path.absolute()), self.subject.path.name)

    def open(self, worker: Worker, threads: int) -> float:
        """Load the file in `worker`; return the seconds it took."""
        subject = self.subject
        answer, _ = worker.ask(
            "open",
            timeout=OPENING,
            opener=subject.opener,
            path=str(subject.path.absolute()),
            threads=threads,
            contract=asdict(subject.contract),
            classes=len(subject.classes),
        )
        return float(answer["nanoseconds"]) / 1e9

    def latency(self, effort: Effort, threads: int) -> Latency | None:
        """Sum up the timed runs at `threads`; None when they are not whole."""
        kept = {what: parts for (at, what), parts in self.samples.items() if at == threads}
        if any(len(kept.get(name, ())) < effort.rounds for name in tasks(effort)):
            return None
        return Latency(
            threads=threads,
            inference=latency.summarize(kept["inference"]),
            preprocess=latency.summarize(kept["preprocess"]),
            whole=latency.summarize(kept["whole"]),
            throughput=tuple(
                Throughput(batch, batch / float(np.median(np.concatenate(kept[f"batch {batch}"]))) * 1e9)
                for batch in effort.batches
            ),
        )


def tasks(effort: Effort) -> dict[str, tuple[str, int, float]]:
    """Return what is timed in a round: name -> (what, batch, share of the inference's time that it is timed for)."""
    batches = {f"batch {batch}": ("inference", batch, 0.2) for batch in effort.batches}
    return {
        "inference": ("inference", 1, 1.0),
        "preprocess": ("preprocess", 1, 0.02),
        "whole": ("whole", 1, 0.2),
    } | batches


def measure(
    subjects: Sequence[Subject],
    images: Images,
    classes: tuple[str, ...],
    effort: Effort,
    *,
    patience: float = PATIENCE,
    progress: Progress = quiet,
) -> list[Trial]:
    """Measure every subject on `uint8 (N, H, W, 1)` test images, and return a trial for each, in their order."""
    trials = [Trial(subject) for subject in subjects]
    for trial in trials:
        if trial.subject.classes != classes:
            trial.failure = f"expected the classes {', '.join(classes)}, found {', '.join(trial.subject.classes)}"
    pictures = images[np.linspace(0, len(images) - 1, min(len(images), latency.PICTURES)).astype(int)]
    crops = np.stack([crop(picture) for picture in pictures])
    for trial in _going(trials, "cold start", progress):
        with trial.guard():
            _start_cold(trial, images, effort, patience)
    for threads in effort.threads:
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            for trial in _going(trials, f"open, {_threads(threads)}", progress):
                workers[trial.subject.name] = stack.enter_context(Worker(threads=threads))
                with trial.guard():
                    trial.open(workers[trial.subject.name], threads)
            if threads == effort.threads[0]:
                for trial in _going(trials, "accuracy", progress):
                    with trial.guard():
                        trial.probabilities = _predict(trial, workers[trial.subject.name], images, patience)
                _corrupt(trials, workers, images, effort, patience, progress)
            _time(trials, workers, {"images": pictures, "crops": crops}, effort, threads, patience, progress)
    return trials


def crop(picture: Images) -> Images:
    """Make a colour crop of latency.CROP pixels from a gray picture `(H, W, 1)`, as a camera would bring it."""
    rows, columns = (np.arange(latency.CROP) * side // latency.CROP for side in picture.shape[:2])
    return np.ascontiguousarray(np.broadcast_to(picture[rows][:, columns], (latency.CROP, latency.CROP, 3)))


def _going(trials: Sequence[Trial], task: str, progress: Progress) -> Iterator[Trial]:
    """Give the trials that have not failed, telling `progress`."""
    for index, trial in enumerate(trials):
        progress(task, index, len(trials), trial.subject.name)
        if trial.failure is None:
            yield trial
    progress(task, len(trials), len(trials))


def _start_cold(trial: Trial, images: Images, effort: Effort, patience: float) -> None:
    """Open the file in fresh processes: how long until the first answer, and how much memory that takes."""
    loads, firsts, peaks, added = [], [], [], []
    for _ in range(effort.cold_starts):
        with Worker(threads=1) as worker:
            before, _ = worker.ask("memory", timeout=patience)
            loads.append(trial.open(worker, 1))
            answer, _ = worker.ask("predict", timeout=patience, arrays={"images": images[:1]})
            firsts.append(answer["nanoseconds"] / 1e6)
            for picture in images[1:CHUNK]:
                worker.ask("predict", timeout=patience, arrays={"images": picture[None]})
            after, _ = worker.ask("memory", timeout=patience)
            peaks.append(after["peak"])
            added.append(after["peak"] - before["now"])
    trial.cold = Cold(load=float(np.median(loads)) * 1000, first_call=float(np.median(firsts)))
    trial.memory = Memory(peak=max(peaks), added=max(added))


def _predict(trial: Trial, worker: Worker, images: Images, patience: float) -> NDArray[np.float32]:
    """Send every image through the file, CHUNK at a time."""
    parts = []
    for start in range(0, len(images), CHUNK):
        answer, arrays = worker.ask("predict", timeout=patience, arrays={"images": images[start : start + CHUNK]})
        parts.append(arrays["probabilities"])
        trial.slowest = max(trial.slowest, answer["nanoseconds"] / 1e9)
    return np.concatenate(parts)


def _corrupt(
    trials: Sequence[Trial],
    workers: dict[str, Worker],
    images: Images,
    effort: Effort,
    patience: float,
    progress: Progress,
) -> None:
    """Send corrupted copies through every file."""
    if not effort.corrupted:
        return
    chosen = images[corruptions.sample(len(images), effort.corrupted, effort.seed)]
    kinds = [
        (kind, strength) for kind, values in corruptions.STRENGTHS.items() for strength in range(1, len(values) + 1)
    ]
    for index, (kind, strength) in enumerate(kinds):
        progress("corrupted copies", index, len(kinds), f"{kind} {strength}")
        copies = corruptions.corrupt(chosen, kind, strength, seed=effort.seed)
        for trial in trials:
            if trial.failure is None:
                with trial.guard():
                    probabilities = _predict(trial, workers[trial.subject.name], copies, patience)
                    trial.named[kind, strength] = probabilities.argmax(1).astype(np.uint8)
    progress("corrupted copies", len(kinds), len(kinds))


def _time(
    trials: Sequence[Trial],
    workers: dict[str, Worker],
    arrays: dict[str, NDArray[Any]],
    effort: Effort,
    threads: int,
    patience: float,
    progress: Progress,
) -> None:
    """Time every task of every trial, in rounds, in a random order within each round."""
    by_name = {trial.subject.name: trial for trial in trials if trial.failure is None}
    for name, trial in by_name.items():
        with trial.guard():
            workers[name].ask("pictures", timeout=patience, arrays=arrays)
    task = f"latency, {_threads(threads)}"
    turns = [name for names in latency.order(list(by_name), effort) for name in names]
    for index, name in enumerate(turns):
        progress(task, index, len(turns), name)
        trial = by_name[name]
        if trial.failure is None:
            with trial.guard():
                _turn(trial, workers[name], effort, threads, patience)
    progress(task, len(turns), len(turns))


def _turn(trial: Trial, worker: Worker, effort: Effort, threads: int, patience: float) -> None:
    """Time one round of one trial."""
    for name, (what, batch, share) in tasks(effort).items():
        runs = -(-effort.runs // effort.rounds) if batch == 1 else 1
        # Later rounds only need to bring code and weights back into the caches.
        first = (threads, name) not in trial.samples
        warm_seconds = effort.warm_seconds if first else 0.1 * effort.warm_seconds
        seconds = effort.seconds * share / effort.rounds
        calls = (runs + effort.warm_runs) * trial.slowest * max(1, batch / CHUNK)
        _, arrays = worker.ask(
            "time",
            timeout=patience + 4 * (warm_seconds + seconds + calls),
            what=what,
            batch=batch,
            warm_runs=effort.warm_runs,
            warm_seconds=warm_seconds,
            seconds=seconds,
            runs=runs,
        )
        trial.samples.setdefault((threads, name), []).append(arrays["samples"])


def _threads(count: int) -> str:
    return f"{count} thread" + "s" * (count > 1)
