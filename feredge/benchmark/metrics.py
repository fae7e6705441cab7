"""The metrics of one benchmark row, which is a file in one runtime, as frozen dataclasses.

Times are milliseconds, sizes bytes, accuracies fractions from 0 to 1, drops percentage points (pp).
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import Literal

P99_MIN_SAMPLES = 662
"""Fewer samples do not support a 99th percentile (MLPerf inference rules: early stopping, multi-stream)."""
NOISY_SPREAD = 0.10
"""A timing is noisy if its spread over the rounds is larger."""

Verdict = Literal["drop", "no evidence of a drop", "equivalent within the margin", "gain"]


@dataclass(frozen=True)
class Round:
    """The timed runs of a file in one round, in each of which all files are timed in turns."""

    count: int
    median: float
    p90: float


@dataclass(frozen=True)
class Timing:
    """Statistics of all timed runs of one task, outliers included.

    Attributes:
        p99: None for fewer than P99_MIN_SAMPLES runs.
        least, most: minimum and maximum.
        spread: the slowest round's median over the fastest one's, minus 1.
    """

    count: int
    median: float
    p90: float
    p95: float
    p99: float | None
    least: float
    most: float
    spread: float
    rounds: tuple[Round, ...]

    @property
    def noisy(self) -> bool:
        """Whether the rounds differ too much for the timing to be reliable."""
        return self.spread > NOISY_SPREAD


@dataclass(frozen=True)
class Throughput:
    """Images a second in batches, from the median time of a batch."""

    batch: int
    images_per_second: float


@dataclass(frozen=True)
class SensorReading:
    """CPU governor, temperature and active throttling; empty or None where the system does not report them.

    Attributes:
        governor: of the first core.
        celsius: of the hottest sensor.
        slowed: active causes of throttling.
    """

    governor: str
    celsius: float | None
    slowed: tuple[str, ...]


@dataclass(frozen=True)
class ThrottlingState:
    """Sensor readings before and after a round, and every cause of throttling that was active during it."""

    before: SensorReading
    after: SensorReading
    slowed: tuple[str, ...]


@dataclass(frozen=True)
class Latency:
    """Latency of one image at `threads` threads: preprocessing, inference, and the whole call from crop to class.

    Attributes:
        preprocess, whole: None on a device without OpenCV.
        conditions: throttling in each round. A round with throttling is invalid.
    """

    threads: int
    inference: Timing
    preprocess: Timing | None
    whole: Timing | None
    throughput: tuple[Throughput, ...]
    conditions: tuple[ThrottlingState, ...] = ()

    @property
    def invalid_rounds(self) -> tuple[int, ...]:
        """The rounds with throttling, counted from 1."""
        return tuple(number for number, state in enumerate(self.conditions, start=1) if state.slowed)

    @property
    def valid_inference(self) -> Timing | None:
        """The inference in the valid rounds alone; None if all are invalid.

        Results contain a summary of each round and no samples: median and p90 are the medians of the rounds'; p95, p99,
        minimum and maximum are those of all rounds.
        """
        if not self.invalid_rounds:
            return self.inference
        rounds = tuple(
            summary
            for number, summary in enumerate(self.inference.rounds, start=1)
            if number not in self.invalid_rounds
        )
        if not rounds:
            return None
        medians = [summary.median for summary in rounds]
        return replace(
            self.inference,
            count=sum(summary.count for summary in rounds),
            median=statistics.median(medians),
            p90=statistics.median(summary.p90 for summary in rounds),
            spread=max(medians) / max(min(medians), 1e-6) - 1,
            rounds=rounds,
        )


@dataclass(frozen=True)
class ColdStart:
    """Cold start in a fresh process, file in the page cache: load time, with the runtime's import, and first call."""

    load: float
    first_call: float


@dataclass(frozen=True)
class Memory:
    """Memory of a process of its own: peak resident size, and how much of it exceeds the interpreter with numpy."""

    peak: int
    added: int


@dataclass(frozen=True)
class SubsetAccuracy:
    """Accuracy on some of the test images, with Wilson's 95% interval."""

    correct: int
    images: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class RiskCoverage:
    """Selective accuracy: only the most confident predictions are answered (Geifman and El-Yaniv 2017).

    Attributes:
        area: area under the risk-coverage curve: the error of the answered images, averaged over all coverages.
        precision: the fraction of correct answers at the coverages 1%, 2%, ..., 100%.
    """

    area: float
    precision: tuple[float, ...]

    def coverage_at(self, precision: float) -> float:
        """Return the largest coverage with at least `precision`, in steps of 1%; 0 if there is none."""
        reached = [index for index, value in enumerate(self.precision, start=1) if value >= precision]
        return max(reached, default=0) / len(self.precision)


@dataclass(frozen=True)
class Accuracy:
    """Accuracy over all test images.

    Attributes:
        low, high: Wilson's 95% interval.
        recall: of each class; None for a class without test images.
        confusion: rows true class, columns predicted class.
        ece: expected calibration error over 15 equal bins of confidence (Guo et al. 2017).
        confidence: mean of the largest probability.
        ties: images for which two classes have the largest probability; the first is taken.
        unique: accuracy on test images without duplicates in the data; None where they are not known.
        risk_coverage: None in older results.
    """

    correct: int
    images: int
    accuracy: float
    low: float
    high: float
    recall: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
    ece: float
    confidence: float
    ties: int
    unique: SubsetAccuracy | None = None
    risk_coverage: RiskCoverage | None = None


@dataclass(frozen=True)
class Drop:
    """Accuracy drop: the float model's accuracy minus this row's on the same images.

    The float model is the run's float32 Keras network before compression, or the `dense.float32` file in its place.

    Attributes:
        pp: the drop.
        low, high: 95% interval by paired bootstrap.
        adjusted_low, adjusted_high: Bonett and Price's (2012) interval, which keeps its coverage when few images
            differ.
        lost, won: discordant pairs: images that only the float model, and only this row, classifies correctly.
        p: of McNemar's exact test, two-sided.
        agreement: fraction of images for which both predict the same class.
        recall: change of each class's recall in pp; None for a class without test images.
        flips: counts of differing predictions; rows the float model's class, columns this row's.
        confidence: change of the mean confidence.
        verdict: by the interval, with the equivalence margin of `BenchmarkConfig.margin`.
        flipped: each image whose predictions differ: row in the data, true class, the float model's, this row's.
    """

    pp: float
    low: float
    high: float
    adjusted_low: float
    adjusted_high: float
    lost: int
    won: int
    p: float
    agreement: float
    recall: tuple[float | None, ...]
    flips: tuple[tuple[int, ...], ...]
    confidence: float
    verdict: Verdict
    flipped: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class CorruptedAccuracy:
    """Accuracy on test images with one kind of common corruption (noise, blur, ...); drop and interval in pp.

    Strength is ImageNet-C's severity, 1 to 5. Kind `clean` at strength 0 are the same images without corruption.
    """

    kind: str
    strength: int
    accuracy: float
    drop: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Instructions:
    """CPU instructions of one inference on an emulated core. They are no measure of time.

    Attributes:
        core: qemu's name of it, as `cortex-a72`.
        count: median over repeated counts, with the call from Python; None when not counted.
        spread: largest over smallest of the counts, minus 1.
        failure: why it was not counted.
    """

    core: str
    count: float | None
    spread: float | None
    failure: str | None = None
