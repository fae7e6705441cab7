"""Benchmark results as frozen dataclasses, with their JSON format and its validation.

Results identify what they were measured on: a row by the file's SHA-256, the whole by the data's digest and the
machine's description. Times are milliseconds, sizes bytes, accuracies fractions from 0 to 1, drops percentage points
(pp).
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from feredge import dataclass_io, files
from feredge.benchmark.config import BenchmarkConfig
from feredge.benchmark.load_metrics import IdleLatency, SustainedLoad
from feredge.benchmark.metrics import (
    Accuracy,
    ColdStart,
    CorruptedAccuracy,
    Drop,
    Instructions,
    Latency,
    Memory,
    Timing,
)
from feredge.errors import RecipeError, ResultsError, describe_schema
from feredge.inspection.macs import Macs

ALL_THROTTLED = "the CPU was throttled in every round"
"""Why a row has no valid latency, as verdicts give it."""
RESULTS_SCHEMA = 2
DIGEST_PATTERN = re.compile(r"[0-9a-f]{64}")
NAME_PATTERN = re.compile(r"[\w.+-]{0,80}")
MAX_FILE_BYTES = 256_000_000
"""Of a results file; one of 44 files on 3,589 images has 0.3 million."""
Kind = Literal["float", "artifact", "baseline"]
FORMAT_RUNTIMES = {
    "keras": "TensorFlow",
    "tflite": "LiteRT with XNNPACK",
    "onnx": "onnxruntime",
    "ort": "onnxruntime",
    "c": "C library",
    "skops": "scikit-learn",
}
"""The default runtime of each file format."""


@dataclass(frozen=True)
class Machine:
    """The machine that the benchmark ran on.

    Attributes:
        load: number of cores that were busy just before the first measurement.
        peaks: multiply-adds a second of a large matrix product on one thread, by precision: `float32`, `int8`.
    """

    cpu: str
    architecture: str
    flags: tuple[str, ...]
    cores: int
    memory_bytes: int
    governor: str
    system: str
    versions: dict[str, str]
    load: float | None
    peaks: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Data:
    """The test images.

    Attributes:
        digest: SHA-256 of the whole data set.
        images: test images of each class.
        repeated: test images with an exact or near duplicate in another split, or earlier in the test split.
        dropped: training images left out because they are in another split too.
    """

    source: str
    digest: str
    classes: tuple[str, ...]
    images: tuple[int, ...]
    repeated: int
    dropped: int

    @property
    def total(self) -> int:
        """Number of test images."""
        return sum(self.images)


@dataclass(frozen=True)
class Row:
    """The results of one file in one runtime. A metric that could not be measured is None, and `failure` says why.

    Attributes:
        name: `float`, an artifact's file name, or a baseline's id; with several networks prefixed by `NETWORK/`, and
            in an alternative runtime followed by ` (RUNTIME)`.
        format: `keras`, `tflite`, `onnx`, `ort`, or a baseline's file format.
        network: with several networks, the one that the file belongs to; else empty.
        reference_row: name of the row that the drop is measured against; empty for the float model.
        cold_start: the cold start.
        runtime: title of an alternative runtime; empty for the format's default.
        classes: where they are not those of the data; test images of other classes are left out.
        images: test images of each class, where they are not those of the data.
        test_set_digest: digest of the test images' rows in their order; empty in older results.
        roofline: time that the multiply-adds take at the machine's peak, over the median at one thread.
        sustained_load, idle_latency: where the benchmark measured them.
        arena_bytes, constant_bytes: of a C library, its RAM, and its weights and tables in flash; else None.
        transfer_bytes: of a runtime in a browser, gzip -9 of runtime and model as a page loads them; else None.
    """

    name: str
    kind: Kind
    format: str
    variant: str
    precision: str
    sha256: str
    bytes: int
    failure: str | None = None
    accuracy: Accuracy | None = None
    drop: Drop | None = None
    cold_start: ColdStart | None = None
    memory: Memory | None = None
    latency: tuple[Latency, ...] = ()
    corrupted: tuple[CorruptedAccuracy, ...] = ()
    instructions: tuple[Instructions, ...] = ()
    runtime: str = ""
    network: str = ""
    reference_row: str = ""
    classes: tuple[str, ...] = ()
    images: tuple[int, ...] = ()
    test_set_digest: str = ""
    macs: Macs | None = None
    roofline: float | None = None
    sustained_load: SustainedLoad | None = None
    idle_latency: IdleLatency | None = None
    arena_bytes: int | None = None
    constant_bytes: int | None = None
    transfer_bytes: int | None = None

    @property
    def runtime_title(self) -> str:
        """The runtime whose arithmetic the accuracy is of, and whose latency was measured."""
        return self.runtime or FORMAT_RUNTIMES.get(self.format, self.format)

    @property
    def throttled_by(self) -> tuple[str, ...]:
        """Causes of throttling in the rounds of any thread count; empty if all rounds are valid."""
        states = [state for latency in self.latency for state in latency.conditions]
        return tuple(sorted({cause for state in states for cause in state.slowed}))

    @property
    def main_latency(self) -> Timing | None:
        """Latency of inference, one image at one thread, by which rows are compared; None if it was not measured."""
        latency = self.latency_at(1)
        return latency.inference if latency else None

    @property
    def valid_main_latency(self) -> Timing | None:
        """The main latency over the rounds without throttling, which verdicts are based on; None if there are none."""
        latency = self.latency_at(1)
        return latency.valid_inference if latency else None

    @property
    def always_throttled(self) -> bool:
        """Whether the main latency was measured, and every round of it was throttled."""
        return self.main_latency is not None and self.valid_main_latency is None

    def latency_at(self, threads: int) -> Latency | None:
        """Return the latency at a thread count, None if it was not measured."""
        return next((latency for latency in self.latency if latency.threads == threads), None)

    def latency_ratio(self, other: Row) -> float | None:
        """Return this row's median over that of `other`, in valid rounds at one thread; None where unknown."""
        timing, base = self.valid_main_latency, other.valid_main_latency
        return timing.median / base.median if timing and base and timing.median and base.median else None


@dataclass(frozen=True)
class Results:
    """The results of one benchmark.

    Attributes:
        recipe: the run's, resolved; of several networks the first one's.
        config: the settings of the benchmark.
        measured: UTC time of its end.
        notes: what was left out or assumed, in a sentence each.
        command: command line that repeats it; empty where it was not started by one.
    """

    recipe: dict[str, Any]
    data: Data
    machine: Machine
    config: BenchmarkConfig
    measured: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    command: str = ""

    @property
    def reference(self) -> Row | None:
        """The float model's row, None if it was not measured; of several networks the first one's."""
        return next((row for row in self.rows if row.kind == "float"), None)

    def reference_of(self, row: Row) -> Row | None:
        """Return the row that the drop of `row` is measured against."""
        if row.reference_row:
            return next((other for other in self.rows if other.name == row.reference_row), None)
        return next((other for other in self.rows if other.kind == "float" and other.network == row.network), None)

    def float32_file_of(self, row: Row) -> Row | None:
        """Return the timed float32 file of a file's network in the same runtime, the dense one if there is one.

        Latency and size are compared with it: against the Keras graph a ratio would contain the change of runtime.
        """
        files = [
            other
            for other in self.rows
            if other.kind == row.kind == "artifact"
            and other.precision == "float32"
            and (other.network, other.runtime_title) == (row.network, row.runtime_title)
            and other.main_latency
        ]
        return min(files, key=lambda other: (other.variant != "dense", other.format != row.format), default=None)

    def class_names(self, row: Row) -> tuple[str, ...]:
        """Return the classes that `row` is evaluated on."""
        return row.classes or self.data.classes

    def images_per_class(self, row: Row) -> tuple[int, ...]:
        """Return the number of test images of each class that `row` is evaluated on."""
        return row.images or self.data.images

    def same_test_images(self, row: Row, other: Results, other_row: Row) -> bool:
        """Return whether `row`, and `other_row` of `other`, are evaluated on the same images and classes."""
        if row.test_set_digest and other_row.test_set_digest and row.test_set_digest != other_row.test_set_digest:
            return False
        test_set = self.data.digest, self.class_names(row), self.images_per_class(row)
        return test_set == (other.data.digest, other.class_names(other_row), other.images_per_class(other_row))

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, with the schema's number."""
        text = json.dumps(dataclasses.asdict(self), allow_nan=False, ensure_ascii=False)
        return {
            "schema": RESULTS_SCHEMA,
            **json.loads(text.encode("utf-8", "replace")),
        }  # file names may be no UTF-8

    @classmethod
    def from_json(cls, value: Any, *, where: str = "results") -> Results:
        """Read what `to_json` returns; ResultsError, naming `where`, for anything else."""
        if not isinstance(value, dict) or value.get("schema") != RESULTS_SCHEMA:
            raise ResultsError(
                f"{where}: expected feredge results of schema {RESULTS_SCHEMA}, found {describe_schema(value)}"
            )
        table = {key: item for key, item in value.items() if key != "schema"}
        try:
            results: Results = dataclass_io.read(cls, table, where)
        except RecipeError as error:
            raise ResultsError(str(error)) from error
        results._check(where)
        return results

    def _check(self, where: str) -> None:
        """Raise ResultsError for values that no benchmark writes, and that reports cannot show."""
        if self.config.margin <= 0:
            raise ResultsError(f"{where}: config: expected a margin above 0 pp, found {self.config.margin:g}")
        if len(self.data.images) != len(self.data.classes):
            counts = f"{len(self.data.images)} for {len(self.data.classes)} classes"
            raise ResultsError(f"{where}: data: expected a number of images for each class, found {counts}")
        if not DIGEST_PATTERN.fullmatch(self.data.digest):
            raise ResultsError(f"{where}: data: digest: expected 64 hexadecimal digits, found {self.data.digest!r:.80}")
        for row in self.rows:
            self._check_row(row, f"{where}: {row.name!r:.80}")
            if row.sustained_load and not row.sustained_load.minutes:
                raise ResultsError(f"{where}: {row.name}: expected minutes of sustained load, found none")
            for timing in (latency.inference for latency in row.latency):
                least_ms = min((timing.median, timing.p95, *(summary.median for summary in timing.rounds)))
                if not timing.rounds or least_ms <= 0:
                    rounds = f"{len(timing.rounds)} rounds and {least_ms:g} ms"
                    raise ResultsError(f"{where}: {row.name}: expected rounds of more than 0 ms, found {rounds}")

    def _check_row(self, row: Row, where: str) -> None:
        """Raise ResultsError for a digest, a name, an accuracy or a table that no benchmark writes."""

        def expect(valid: bool, expected: str, actual: object) -> None:
            if not valid:
                raise ResultsError(f"{where}: expected {expected}, found {actual!r:.80}")

        expect(
            bool(DIGEST_PATTERN.fullmatch(row.sha256) or (row.failure and not row.sha256)),
            "a sha256 of 64 hexadecimal digits",
            row.sha256,
        )
        for name in (row.format, row.variant, row.precision, row.test_set_digest):
            expect(bool(NAME_PATTERN.fullmatch(name)), "letters, digits and .+- in a name", name)
        images = self.images_per_class(row)
        sizes = (row.bytes, *images, row.arena_bytes or 0, row.constant_bytes or 0, row.transfer_bytes or 0)
        expect(min(sizes) >= 0, "counts from 0 up", row.bytes)
        classes = len(self.class_names(row))
        expect(len(images) == classes, "a number of images for each class", len(images))
        if row.accuracy:
            fractions = row.accuracy.accuracy, row.accuracy.low, row.accuracy.high
            expect(all(0 <= fraction <= 1 for fraction in fractions), "an accuracy from 0 to 1", fractions)
            expect(len(row.accuracy.recall) == classes, "a recall of each class", len(row.accuracy.recall))
        if row.drop:
            drop = row.drop
            expect(all(-100 <= pp <= 100 for pp in (drop.pp, drop.low, drop.high)), "a drop of at most 100 pp", drop.pp)
            expect(len(drop.recall) == classes, "a change of each class's recall", len(drop.recall))
            row_lengths = [len(counts) for counts in drop.flips]
            expect(row_lengths == [classes] * classes, "as many rows and columns of flips as classes", row_lengths)
            for flip in drop.flipped:
                expect(len(flip) == 4 and all(0 <= label < classes for label in flip[1:]), "a flip of classes", flip)

    def write(self, path: Path) -> None:
        """Write a results file atomically."""
        files.write_text(path, json.dumps(self.to_json(), separators=(",", ":"), allow_nan=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read a results file; ResultsError if it is missing or invalid."""
        try:
            with path.open("rb") as file:
                text = file.read(MAX_FILE_BYTES + 1)
            if len(text) > MAX_FILE_BYTES:
                raise ResultsError(f"{path}: expected results of at most {MAX_FILE_BYTES / 1e6:.0f} MB, found more")
            value = json.loads(text.decode("utf-8"))
        except OSError as error:
            raise ResultsError(f"{path}: expected results, cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise ResultsError(f"{path}: expected results in JSON ({error})") from error
        return cls.from_json(value, where=str(path))
