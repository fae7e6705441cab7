"""What is measured of one row of a benchmark, as frozen dataclasses: timings, memory, accuracy, drop, multiply-adds.

Times are milliseconds, sizes bytes, accuracies shares from 0 to 1, drops percentage points (pp).
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import Literal

P99_FROM = 662
"""Fewer samples do not carry a 99th percentile (MLPerf inference rules, single stream)."""
NOISY_FROM = 0.10
"""Rounds whose medians differ by more than this share mark a timing as noisy."""

Verdict = Literal["drop", "no evidence of a drop", "equivalent within the margin"]


@dataclass(frozen=True)
class Round:
    """One round of timed runs."""

    count: int
    median: float
    p90: float


@dataclass(frozen=True)
class Timing:
    """Every timed run of one thing, none removed. `p99` only from P99_FROM runs up.

    Attributes:
        spread: slowest round's median over the fastest one's, less 1.
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
        """Say whether rounds differ too much for the figure to be trusted."""
        return self.spread > NOISY_FROM


@dataclass(frozen=True)
class Throughput:
    """Images a second in batches, by the median batch."""

    batch: int
    images_per_second: float


@dataclass(frozen=True)
class Reading:
    """What the system says of its clock and its heat; empty or None where it says nothing.

    Attributes:
        governor: of the first core's frequency.
        celsius: the hottest sensor.
        slowed: what holds the clock down.
    """

    governor: str
    celsius: float | None
    slowed: tuple[str, ...]


@dataclass(frozen=True)
class Condition:
    """The machine before and after one round, and all that held its clock down during it, as far as it tells."""

    before: Reading
    after: Reading
    slowed: tuple[str, ...]


@dataclass(frozen=True)
class Latency:
    """One image at a time at `threads` threads: crop to tensor, tensor to probabilities, and both in one call.

    Attributes:
        preprocess, whole: None on a device without OpenCV.
        conditions: the machine in each round. A round in which something held the clock down is invalid.
    """

    threads: int
    inference: Timing
    preprocess: Timing | None
    whole: Timing | None
    throughput: tuple[Throughput, ...]
    conditions: tuple[Condition, ...] = ()

    @property
    def invalid(self) -> tuple[int, ...]:
        """The rounds, from 1 up, in which something held the clock down."""
        return tuple(number for number, found in enumerate(self.conditions, start=1) if found.slowed)

    @property
    def valid(self) -> Timing | None:
        """The inference in the valid rounds alone; None where the clock was held down in all of them.

        Results keep a summary a round and no samples: the quantiles are those of the rounds, in the middle.
        """
        if not self.invalid:
            return self.inference
        rounds = tuple(one for at, one in enumerate(self.inference.rounds, start=1) if at not in self.invalid)
        if not rounds:
            return None
        medians = [one.median for one in rounds]
        return replace(
            self.inference,
            count=sum(one.count for one in rounds),
            median=statistics.median(medians),
            p90=statistics.median(one.p90 for one in rounds),
            spread=max(medians) / max(min(medians), 1e-6) - 1,
            rounds=rounds,
        )


@dataclass(frozen=True)
class Cold:
    """A fresh process, file in the page cache: opening it (runtime's import included), and the first call."""

    load: float
    first_call: float


@dataclass(frozen=True)
class Memory:
    """A process of its own: highest resident size, and how much of it came after the bare interpreter and numpy."""

    peak: int
    added: int


@dataclass(frozen=True)
class Share:
    """How often the file is right over some images, with Wilson's 95% interval."""

    correct: int
    images: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Accuracy:
    """How often the file is right, over every test image.

    Attributes:
        low, high: Wilson's 95% interval.
        recall: of each class; None where the test split has none of it.
        confusion: rows true class, columns predicted class.
        ece: expected calibration error over 15 equal bins of confidence (Guo et al. 2017).
        confidence: mean of the largest probability.
        ties: images whose largest probability stands twice; the earlier class is taken.
        unique: the same on test images that stand nowhere else; None where that is not known.
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
    unique: Share | None = None


@dataclass(frozen=True)
class Drop:
    """Float accuracy minus this row's on the same images.

    Attributes:
        pp: the drop.
        low, high: 95% interval by paired bootstrap.
        adjusted_low, adjusted_high: Bonett and Price's (2012) interval, which stays honest when few images differ.
        lost, won: images that only the float model has right, and that only this row has right.
        p: McNemar's exact test, two-sided.
        agreement: share of images on which both name the same class.
        recall: change of each class's recall in pp; None where the test split has none of it.
        flips: rows the float model's class, columns this row's, images on which they differ.
        confidence: change of the mean confidence.
        flipped: every image on which they differ: its row in the data, its class, the float model's, this row's.
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
class Corrupted:
    """Accuracy on copies corrupted in one way and strength, 1 to 5; the drop, in pp, as on all clean images.

    Kind `clean` at strength 0 are the same images as they were.
    """

    kind: str
    strength: int
    accuracy: float
    drop: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Instructions:
    """Instructions that one inference takes on an emulated core; no time follows from them.

    Attributes:
        core: as qemu names it: `cortex-a72`.
        count: the median of several stretches of inferences, Python's share included; None when not counted.
        spread: the largest of the stretches over the smallest, less 1.
        failure: why it was not counted.
    """

    core: str
    count: float | None
    spread: float | None
    failure: str | None = None
