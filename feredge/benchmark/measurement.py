"""The raw measurement of one candidate: its worker, and everything measured of it so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark.candidates import Candidate
from feredge.benchmark.config import TIMEOUT_SECONDS, BenchmarkConfig
from feredge.benchmark.latency import summarize_rounds
from feredge.benchmark.load_metrics import IdleLatency, SustainedLoad
from feredge.benchmark.metrics import ColdStart, Latency, Memory, ThrottlingState, Throughput
from feredge.benchmark.throttling import SystemSnapshot, compare_snapshots, take_snapshot
from feredge.benchmark.workers.client import Worker, WorkerFailure
from feredge.inference.contract import Images
from feredge.inspection.macs import Macs

PREDICTION_BATCH = 64
"""Images in one predict call where only its outputs count."""
LOAD_TIMEOUT_SECONDS = 300.0
"""TensorFlow or scikit-learn may take so long to import and to load a file."""
SECONDARY_SECONDS = 10.0
"""Upper bound of a row's time of which all timings but the main latency's take their shares."""

Corruption = tuple[str, int]
"""A kind of corruption, and its strength."""


class TimedTask(NamedTuple):
    """One thing to time in each turn.

    Attributes:
        call: `inference`, `preprocess` or `whole`, as the worker times them.
        batch: images in a call.
        time_share: of the inference's time.
    """

    call: str
    batch: int
    time_share: float


@dataclass
class Measurement:
    """What has been measured of a candidate so far.

    Attributes:
        timeout_seconds: without a response for so long its worker counts as hanging.
        sha256, size_bytes: of the file, and of the files that hold its weights.
        worker: the process that has loaded the file.
        failure: why it could not be measured, or not completely.
        probabilities: `float32 (N, classes)` of every test image.
        corrupted_predictions: predicted classes of the corrupted test images.
        samples_ns: nanoseconds of the timed runs, by threads and task, one array a round.
        throttling_states: the machine's state in each round, by threads.
        turns_done: number of turns timed, by threads.
        round_start: the machine before the first turn of the current round, by threads.
        can_preprocess: whether preprocessing can be timed on this machine.
        macs: multiply-adds of one image, if the file's graph can be read.
        needs_warm_up: whether the worker has not timed anything yet.
        slowest_batch_seconds: longest call of at most PREDICTION_BATCH images, by which timeouts are extended.
        seconds_per_image: mean time over the test images.
        sustained_load, idle_latency: of the load stage.
        transfer_bytes: as in Row.
    """

    candidate: Candidate
    timeout_seconds: float = TIMEOUT_SECONDS
    sha256: str = ""
    size_bytes: int = 0
    worker: Worker | None = None
    failure: str | None = None
    cold_start: ColdStart | None = None
    memory: Memory | None = None
    probabilities: NDArray[np.float32] | None = None
    corrupted_predictions: dict[Corruption, NDArray[np.uint8]] = field(default_factory=dict)
    samples_ns: dict[tuple[int, str], list[NDArray[np.int64]]] = field(default_factory=dict)
    throttling_states: dict[int, list[ThrottlingState]] = field(default_factory=dict)
    turns_done: dict[int, int] = field(default_factory=dict)
    round_start: dict[int, SystemSnapshot] = field(default_factory=dict)
    can_preprocess: bool = True
    macs: Macs | None = None
    needs_warm_up: bool = True
    slowest_batch_seconds: float = 0.0
    seconds_per_image: float = 0.0
    sustained_load: SustainedLoad | None = None
    idle_latency: IdleLatency | None = None
    transfer_bytes: int | None = None

    @contextmanager
    def recording_failure(self) -> Iterator[None]:
        """Turn a WorkerFailure into `failure`, without folders of this machine, because reports are shared."""
        try:
            yield
        except WorkerFailure as error:
            path = self.candidate.path
            self.failure = str(error).replace(str(path.absolute()), path.name)

    def load(self, worker: Worker, threads: int) -> float:
        """Load the file in `worker`, which becomes this measurement's worker; return the seconds that it took."""
        candidate, self.worker, self.needs_warm_up = self.candidate, worker, True
        untrusted = candidate.kind == "artifact"  # anybody may have written it
        response, _ = worker.request(
            "open",
            timeout_seconds=self.timeout_seconds if untrusted else max(self.timeout_seconds, LOAD_TIMEOUT_SECONDS),
            limited=untrusted and not candidate.in_browser,  # Chromium reserves terabytes, and has its own sandbox
            opener=candidate.opener,
            path=str(candidate.path.absolute()),
            threads=threads,
            options=candidate.options,
            contract=asdict(candidate.contract),
            classes=len(candidate.classes),
        )
        self.transfer_bytes = response.get("transfer_bytes")
        return float(response["nanoseconds"]) / 1e9

    def measure_cold_start(self, images: Images, starts: int) -> None:
        """Load the file in fresh processes: time until the first prediction, and peak memory over a few images."""
        images = self._to_contract(images[:PREDICTION_BATCH])
        load_seconds, first_call_ms, peak_bytes, added_bytes = [], [], [], []
        for _ in range(starts):
            with Worker(threads=1) as worker:
                # The process may still be starting.
                before, _ = worker.request("memory", timeout_seconds=LOAD_TIMEOUT_SECONDS)
                load_seconds.append(self.load(worker, 1))
                response, _ = worker.request(
                    "predict", timeout_seconds=self.timeout_seconds, arrays={"images": images[:1]}
                )
                first_call_ms.append(response["nanoseconds"] / 1e6)
                for image in images[1:]:
                    worker.request("predict", timeout_seconds=self.timeout_seconds, arrays={"images": image[None]})
                after, _ = worker.request("memory", timeout_seconds=self.timeout_seconds)
                peak_bytes.append(after["peak"])
                added_bytes.append(after["peak"] - before["resident"])
        self.cold_start = ColdStart(
            load=float(np.median(load_seconds)) * 1000, first_call=float(np.median(first_call_ms))
        )
        if max(peak_bytes):  # 0 where the system does not report it
            self.memory = Memory(peak=max(peak_bytes), added=max(added_bytes))

    def private_bytes(self) -> int:
        """Return the worker's current memory that it shares with no other process."""
        response, _ = self._loaded_worker.request("memory", timeout_seconds=self.timeout_seconds)
        return int(response["private"])

    def predict_test_images(self, images: Images) -> None:
        """Predict every test image."""
        self.probabilities, seconds = self._predict(images)
        self.seconds_per_image = seconds / max(1, len(images))

    def predict_corrupted(self, copies: Mapping[Corruption, Images]) -> None:
        """Predict corrupted copies of test images."""
        for corruption, images in copies.items():
            self.corrupted_predictions[corruption] = self._predict(images)[0].argmax(1).astype(np.uint8)

    def _predict(self, images: Images) -> tuple[NDArray[np.float32], float]:
        """Return the probabilities, and the seconds that they took."""
        batches, seconds, images = [], 0.0, self._to_contract(images)
        for start in range(0, len(images), PREDICTION_BATCH):
            response, arrays = self._loaded_worker.request(
                "predict",
                timeout_seconds=self.timeout_seconds,
                arrays={"images": images[start : start + PREDICTION_BATCH]},
            )
            batches.append(arrays["probabilities"])
            seconds += response["nanoseconds"] / 1e9
            self.slowest_batch_seconds = max(self.slowest_batch_seconds, response["nanoseconds"] / 1e9)
        return np.concatenate(batches), seconds

    def count_macs(self) -> None:
        """Count the multiply-adds; None for a file whose graph cannot be read."""
        response, _ = self._loaded_worker.request(
            "macs", timeout_seconds=self.timeout_seconds, path=str(self.candidate.path.absolute())
        )
        self.macs = Macs(**response["macs"]) if response["macs"] else None

    def _to_contract(self, images: Images) -> Images:
        """Return images in this file's size and channels."""
        contract = self.candidate.contract
        return images if images.shape[1:] == contract.shape else contract.to_batch(images)

    def set_inputs(self, images: Images, crops: Images) -> None:
        """Send the worker the images and colour crops that its calls are timed on."""
        arrays = {"images": self._to_contract(images), "crops": crops}
        response, _ = self._loaded_worker.request("set_inputs", timeout_seconds=self.timeout_seconds, arrays=arrays)
        self.can_preprocess = bool(response["can_preprocess"])

    def time_turn(self, config: BenchmarkConfig, threads: int) -> None:
        """Time one turn of every task; a round has `config.turns_per_round` of them."""
        turns_done = self.turns_done.get(threads, 0)
        turns = config.rounds * config.turns_per_round
        starts_round = turns_done % config.turns_per_round == 0
        if starts_round:
            self.round_start[threads] = take_snapshot()
        for name, task in self._tasks(config).items():
            runs = -(-config.runs // turns) if task.batch == 1 else 1
            is_main_latency = name == "inference" and threads == config.threads[0]
            row_seconds = config.seconds if is_main_latency else min(config.seconds, SECONDARY_SECONDS)
            samples = self._time(config, task, runs, task.time_share * row_seconds / turns)
            rounds = self.samples_ns.setdefault((threads, name), [])
            rounds.append(samples if starts_round else np.concatenate([rounds.pop(), samples]))
        self.needs_warm_up, self.turns_done[threads] = False, turns_done + 1
        states = self.throttling_states.setdefault(threads, [])
        if not starts_round:
            states.pop()
        states.append(compare_snapshots(self.round_start[threads], take_snapshot()))

    def _time(self, config: BenchmarkConfig, task: TimedTask, runs: int, seconds: float) -> NDArray[np.int64]:
        # A worker that has run before only needs to bring code and weights back into the caches.
        warm_runs = config.warm_runs if self.needs_warm_up else 1
        warm_seconds = config.warm_seconds if self.needs_warm_up else 0.1 * config.warm_seconds
        expected_seconds = (runs + warm_runs) * self.slowest_batch_seconds * max(1, task.batch / PREDICTION_BATCH)
        _, arrays = self._loaded_worker.request(
            "time",
            timeout_seconds=self.timeout_seconds + 4 * (warm_seconds + seconds + expected_seconds),
            call=task.call,
            batch=task.batch,
            warm_runs=warm_runs,
            warm_seconds=warm_seconds,
            seconds=seconds,
            runs=runs,
        )
        return cast("NDArray[np.int64]", arrays["samples"])

    def time_load(
        self, seconds: float, *, rate: float | None = None, meanwhile: Callable[[], None] | None = None
    ) -> NDArray[np.int64]:
        """Time single images for some seconds, without a warm-up; return nanoseconds a call.

        Args:
            rate: calls a second; None for as many as possible.
            meanwhile: called while the worker runs.
        """
        interval_seconds = 1 / rate if rate else 0.0
        _, arrays = self._loaded_worker.request(
            "time_load",
            timeout_seconds=self.timeout_seconds + 4 * (seconds + interval_seconds),
            meanwhile=meanwhile,
            seconds=seconds,
            interval_seconds=interval_seconds,
        )
        return cast("NDArray[np.int64]", arrays["samples"])

    def time_after_idle(self, idle_seconds: float, busy_seconds: float) -> float:
        """Return the nanoseconds of one call after idling, whose end is spent on arithmetic."""
        response, _ = self._loaded_worker.request(
            "time_after_idle",
            timeout_seconds=self.timeout_seconds + idle_seconds,
            idle_seconds=idle_seconds,
            busy_seconds=busy_seconds,
        )
        return float(response["nanoseconds"])

    def latency(self, config: BenchmarkConfig, threads: int) -> Latency | None:
        """Return the statistics of the timed runs at `threads`; None unless all turns were timed."""
        rounds = {name: rounds for (count, name), rounds in self.samples_ns.items() if count == threads}
        if self.turns_done.get(threads, 0) < config.rounds * config.turns_per_round:
            return None
        return Latency(
            threads=threads,
            inference=summarize_rounds(rounds["inference"]),
            preprocess=summarize_rounds(rounds["preprocess"]) if self.can_preprocess else None,
            whole=summarize_rounds(rounds["whole"]) if self.can_preprocess else None,
            throughput=tuple(
                Throughput(batch, batch / float(np.median(np.concatenate(rounds[_task_name(batch)]))) * 1e9)
                for batch in config.batches
            ),
            conditions=tuple(self.throttling_states[threads]),
        )

    def _tasks(self, config: BenchmarkConfig) -> dict[str, TimedTask]:
        """Return what is timed in each turn, by name."""
        tasks = {"inference": TimedTask("inference", 1, 1.0)}
        if self.can_preprocess:
            tasks |= {"preprocess": TimedTask("preprocess", 1, 0.02), "whole": TimedTask("whole", 1, 0.2)}
        batches = (batch for batch in config.batches if batch > 1)
        return tasks | {_task_name(batch): TimedTask("inference", batch, 0.2) for batch in batches}

    @property
    def _loaded_worker(self) -> Worker:
        if self.worker is None:
            raise WorkerFailure("no worker has loaded the file")
        return self.worker


def _task_name(batch: int) -> str:
    return "inference" if batch == 1 else f"batch {batch}"
