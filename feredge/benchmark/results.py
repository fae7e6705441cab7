"""What a benchmark found, as frozen dataclasses that go to JSON and back.

Every figure is keyed by what it was measured on: a row by the file's SHA-256, the whole by the data's digest and
the machine's description. Times are milliseconds, sizes bytes, accuracies shares from 0 to 1, drops percentage
points (pp).
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from feredge import dataclass_io, files
from feredge.benchmark.metrics import Accuracy, Cold, Corrupted, Drop, Instructions, Latency, Memory, Timing
from feredge.errors import RecipeError, ResultsError
from feredge.inspection.macs import Macs

ALL_SLOWED = "the clock was held down in every round"
"""Why a row has no valid latency, in the words of every verdict."""
SCHEMA = 1
DIGEST = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[\w.+-]{0,80}")
LARGEST_FILE = 256_000_000
"""Bytes of a results file; those of 44 files on 3,589 images have 0.3 million."""
Kind = Literal["float", "artifact", "baseline"]


@dataclass(frozen=True)
class Machine:
    """Where it was measured.

    Attributes:
        load: cores that something else kept busy just before the first measurement.
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
        repeated: test images that also stand, exactly or nearly, in another split or earlier in the test split.
        dropped: training images left out because they also stand in another split.
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
class Effort:
    """How hard it was measured. Seconds and runs are the least that each row's inference is timed for, in all.

    Attributes:
        name: `quick`, `default` or `strict`; only a `quick` result falls short of the rules.
        rounds: parts that the timed runs come in; rows take turns at random within each.
        threads: thread counts, the headline first.
        batches: batch sizes for throughput.
        cold_starts: fresh processes that cold start is the median of.
        corrupted: test images whose corrupted copies are looked at; 0 for none.
        margin: drop in pp, either way, that counts as none when the whole interval lies inside it.
        seed: of the order of rounds and of the bootstrap.
    """

    name: str
    warm_runs: int
    warm_seconds: float
    rounds: int
    seconds: float
    runs: int
    threads: tuple[int, ...]
    batches: tuple[int, ...]
    cold_starts: int
    corrupted: int
    margin: float
    seed: int


@dataclass(frozen=True)
class Row:
    """One file in one runtime. What could not be measured is None, and `failure` says why.

    Attributes:
        name: `float`, an artifact's file name, or a baseline's id; of several runs `RUN/` before it, and where the
            runtime is not the format's own ` (RUNTIME)` after it.
        format: `keras`, `tflite`, `onnx`, `ort`, or what a baseline is kept in.
        runtime: as the name has it; empty for the format's own.
        network: of several the one that it is a file of, or a baseline beside it; empty where there is one.
        beside: the row that the drop is measured against; empty for the float model.
        classes: of its own, where it is not judged on those of the data; what is not of them is left out.
        images: test images of each class, where they are not those of the data.
        judged: digest of the images that it is judged on and of their order; empty in results of before there was one.
        roofline: time that its multiply-adds take at the machine's peak, over the median at one thread.
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
    cold: Cold | None = None
    memory: Memory | None = None
    latency: tuple[Latency, ...] = ()
    corrupted: tuple[Corrupted, ...] = ()
    instructions: tuple[Instructions, ...] = ()
    runtime: str = ""
    network: str = ""
    beside: str = ""
    classes: tuple[str, ...] = ()
    images: tuple[int, ...] = ()
    judged: str = ""
    macs: Macs | None = None
    roofline: float | None = None

    @property
    def slowed(self) -> tuple[str, ...]:
        """What held the clock down in rounds of any thread count; nothing if they are all valid."""
        conditions = [condition for found in self.latency for condition in found.conditions]
        return tuple(sorted({reason for condition in conditions for reason in condition.slowed}))

    @property
    def headline(self) -> Timing | None:
        """The inference of one face at one thread, which rows are compared by; None if it was not measured."""
        found = self.at(1)
        return found.inference if found else None

    @property
    def valid_headline(self) -> Timing | None:
        """The headline in the rounds whose clock was not held down; None where there are none: what verdicts use."""
        found = self.at(1)
        return found.valid if found else None

    @property
    def all_slowed(self) -> bool:
        """Whether the headline was measured, and the clock held down in every round of it."""
        return self.headline is not None and self.valid_headline is None

    def at(self, threads: int) -> Latency | None:
        """Return the latency at a thread count, None if it was not measured."""
        return next((latency for latency in self.latency if latency.threads == threads), None)

    def times(self, other: Row) -> float | None:
        """Return how many times the time of `other` this takes, by medians of valid rounds; None where unknown."""
        mine, base = self.valid_headline, other.valid_headline
        return mine.median / base.median if mine and base and mine.median and base.median else None


@dataclass(frozen=True)
class Results:
    """Everything one benchmark found.

    Attributes:
        recipe: the run's, resolved; of several runs the first one's.
        measured: the UTC time it ended.
        notes: what was left out, or taken for granted, in a sentence each.
        again: the command that does it again, as it was given; empty where a program did it.
    """

    recipe: dict[str, Any]
    data: Data
    machine: Machine
    effort: Effort
    measured: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    again: str = ""

    @property
    def reference(self) -> Row | None:
        """The float model's row, None if it was not measured; of several runs the first one's."""
        return next((row for row in self.rows if row.kind == "float"), None)

    def beside(self, row: Row) -> Row | None:
        """Return the row that the drop of `row` is measured against."""
        if row.beside:
            return next((one for one in self.rows if one.name == row.beside), None)
        return next((one for one in self.rows if one.kind == "float" and one.network == row.network), None)

    def classes(self, row: Row) -> tuple[str, ...]:
        """Return the classes that `row` is judged on."""
        return row.classes or self.data.classes

    def images(self, row: Row) -> tuple[int, ...]:
        """Return how many test images of each of its classes `row` is judged on."""
        return row.images or self.data.images

    def judged_alike(self, row: Row, other: Results, same: Row) -> bool:
        """Say whether `row` is judged on the images and classes that `same`, of `other`, is judged on."""
        known = not (row.judged and same.judged) or row.judged == same.judged
        mine = self.data.digest, self.classes(row), self.images(row)
        return known and mine == (other.data.digest, other.classes(same), other.images(same))

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with the schema's number."""
        text = json.dumps(dataclasses.asdict(self), allow_nan=False, ensure_ascii=False)
        return {"schema": SCHEMA, **json.loads(text.encode("utf-8", "replace"))}  # names of files need not be text

    @classmethod
    def from_json(cls, value: Any, *, where: str = "results") -> Results:
        """Read what `to_json` gave. ResultsError, naming `where`, for anything else."""
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            found = value.get("schema", "none") if isinstance(value, dict) else type(value).__name__
            raise ResultsError(f"{where}: expected feredge results of schema {SCHEMA}, found {found}")
        table = {key: item for key, item in value.items() if key != "schema"}
        try:
            results: Results = dataclass_io.read(cls, table, where)
        except RecipeError as error:
            raise ResultsError(str(error)) from error
        results._check(where)
        return results

    def _check(self, where: str) -> None:
        """Raise ResultsError for what no benchmark measures, and no page can draw."""
        if self.effort.margin <= 0:
            raise ResultsError(f"{where}: effort: expected a margin above 0 pp, found {self.effort.margin:g}")
        if len(self.data.images) != len(self.data.classes):
            found = f"{len(self.data.images)} for {len(self.data.classes)} classes"
            raise ResultsError(f"{where}: data: expected a number of images for each class, found {found}")
        if not DIGEST.fullmatch(self.data.digest):
            raise ResultsError(f"{where}: data: digest: expected 64 hexadecimal digits, found {self.data.digest!r:.80}")
        for row in self.rows:
            self._check_row(row, f"{where}: {row.name!r:.80}")
            for timing in (found.inference for found in row.latency):
                least = min((timing.median, timing.p95, *(part.median for part in timing.rounds)))
                if not timing.rounds or least <= 0:
                    found = f"{len(timing.rounds)} rounds and {least:g} ms"
                    raise ResultsError(f"{where}: {row.name}: expected rounds of more than 0 ms, found {found}")

    def _check_row(self, row: Row, where: str) -> None:
        """Raise ResultsError for a digest, a name, a share or a table that no benchmark writes."""

        def expect(right: bool, words: str, found: object) -> None:
            if not right:
                raise ResultsError(f"{where}: expected {words}, found {found!r:.80}")

        expect(
            bool(DIGEST.fullmatch(row.sha256) or (row.failure and not row.sha256)),
            "a sha256 of 64 hexadecimal digits",
            row.sha256,
        )
        for name in (row.format, row.variant, row.precision, row.judged):
            expect(bool(NAME.fullmatch(name)), "letters, digits and .+- in a name", name)
        expect(row.bytes >= 0 and all(count >= 0 for count in self.images(row)), "counts from 0 up", row.bytes)
        classes = len(self.classes(row))
        expect(len(self.images(row)) == classes, "a number of images for each class", len(self.images(row)))
        if row.accuracy:
            shares = row.accuracy.accuracy, row.accuracy.low, row.accuracy.high
            expect(all(0 <= share <= 1 for share in shares), "an accuracy from 0 to 1", shares)
            expect(len(row.accuracy.recall) == classes, "a recall of each class", len(row.accuracy.recall))
        if row.drop:
            drop = row.drop
            expect(all(-100 <= pp <= 100 for pp in (drop.pp, drop.low, drop.high)), "a drop of at most 100 pp", drop.pp)
            expect(len(drop.recall) == classes, "a change of each class's recall", len(drop.recall))
            square = [len(line) for line in drop.flips]
            expect(square == [classes] * classes, "as many rows and columns of flips as classes", square)
            for flip in drop.flipped:
                expect(len(flip) == 4 and all(0 <= label < classes for label in flip[1:]), "a flip of classes", flip)

    def write(self, path: Path) -> None:
        """Write `results.json`, whole or not at all."""
        files.write_text(path, json.dumps(self.to_json(), separators=(",", ":"), allow_nan=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read a results file; ResultsError when it is missing or something else."""
        try:
            with path.open("rb") as file:
                text = file.read(LARGEST_FILE + 1)
            if len(text) > LARGEST_FILE:
                raise ResultsError(f"{path}: expected results of at most {LARGEST_FILE / 1e6:.0f} MB, found more")
            value = json.loads(text.decode("utf-8"))
        except OSError as error:
            raise ResultsError(f"{path}: expected results, cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise ResultsError(f"{path}: expected results in JSON ({error})") from error
        return cls.from_json(value, where=str(path))
