"""The table that every report shows: one column, its heading, its value and its text, in one place."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass

from feredge.benchmark.formatting import VERDICT_LABELS, format_drop, with_minus_signs
from feredge.benchmark.metrics import Latency, Timing
from feredge.benchmark.results import Results, Row

Value = float | str | None


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: its name in csv.
        explanation: what it is, in a sentence.
        value: what it is sorted by, and what csv holds.
        text: what a person reads; an empty text where there is no value.
    """

    key: str
    title: str
    explanation: str
    value: Callable[[Row], Value]
    text: Callable[[Row], str]


ROOFLINE = "multiply-adds a second over the peak of this machine's matrix product in the same arithmetic, one thread"


def columns(results: Results) -> list[Column]:
    """Return the columns of `results`, the most asked for first."""

    def speed_up(row: Row) -> float | None:
        beside = results.reference_of(row)
        return beside.latency_ratio(row) if beside else None

    def judged(row: Row) -> str:
        classes = f", {len(row.classes)} classes" if len(results.class_names(row)) != len(results.data.classes) else ""
        return f"{sum(results.images_per_class(row)):,}{classes}"

    found = [
        Column("file", "file", "variant, precision and format", lambda row: row.name, lambda row: row.name),
        _number("bytes", "KB", "size on disk, 1 KB = 1,000 bytes", lambda row: row.bytes, "{:,.0f}", scale=1e-3),
        _number("accuracy", "accuracy %", "over every test image", _accuracy, "{:.2f}", scale=100),
        Column("drop_pp", "drop pp", "float accuracy minus this, with its 95% interval", _drop_pp, _drop_text),
        Column("verdict", "verdict", "the drop in words", _verdict, _verdict_text),
        _number("median_ms", "median ms", "inference of one face, one thread", _timing(lambda t: t.median), "{:.3f}"),
        _number("p90_ms", "p90 ms", "nine of ten runs are faster", _timing(lambda t: t.p90), "{:.3f}"),
        _number("speed_up", "× float", "how many times the float model's speed", speed_up, "{:.1f}"),
        _number("roofline", "% of peak", ROOFLINE, lambda row: row.roofline, "{:.0f}", scale=100),
        _number("whole_ms", "whole call ms", "from a colour crop to a class, median", _whole, "{:.3f}"),
    ]
    for threads in results.effort.threads[1:]:
        found.append(
            _number(
                f"median_{threads}_threads_ms",
                f"{threads} threads ms",
                f"inference of one face on {threads} threads, median",
                lambda row, threads=threads: _median(row, threads),  # type: ignore[misc]
                "{:.3f}",
            )
        )
    for batch in results.effort.batches:
        found.append(
            _number(
                f"images_per_second_batch_{batch}",
                "images/s",
                f"in batches of {batch}, at the thread count that is fastest",
                lambda row, batch=batch: _throughput(row, batch),  # type: ignore[misc]
                "{:,.0f}",
            )
        )
    for core in dict.fromkeys(found.core for row in results.rows for found in row.instructions):
        found.append(
            _number(
                f"instructions_{core}",
                f"M instr. {core.removeprefix('cortex-')}",
                f"million instructions of one inference on an emulated {core}; no time follows from them",
                lambda row, core=core: _instructions(row, core),  # type: ignore[misc]
                "{:.2f}",
                scale=1e-6,
            )
        )
    if any(row.images for row in results.rows):
        words = "test images, and classes where they are not the data's own"
        found.insert(3, Column("judged_on", "judged on", words, lambda row: sum(results.images_per_class(row)), judged))
    if any(row.corrupted for row in results.rows):
        words = "mean over corrupted copies of every kind and strength"
        found.append(_number("corrupted_accuracy", "corrupted %", words, _corrupted, "{:.2f}", scale=100))
    found += [
        _number(
            "unique_accuracy",
            "unique %",
            "accuracy on test images that stand nowhere else",
            _unique,
            "{:.2f}",
            scale=100,
        ),
        _number("ece", "ECE %", "gap between confidence and accuracy, over 15 bins", _ece, "{:.2f}", scale=100),
        _number(
            "confidence_drift",
            "confidence pp",
            "mean largest probability less the float model's, in percentage points",
            lambda row: row.drop.confidence if row.drop else None,
            "{:+.2f}",
            scale=100,
        ),
        _number("peak_bytes", "peak MB", "highest resident memory of its process", _peak, "{:.0f}", scale=1e-6),
        _number("load_ms", "load ms", "fresh process: runtime's import and the file", _cold("load"), "{:.0f}"),
        _number("first_call_ms", "first ms", "the first call after loading", _cold("first_call"), "{:.2f}"),
        _number(
            "spread", "spread %", "slowest round over fastest round", _timing(lambda t: t.spread), "{:.0f}", scale=100
        ),
    ]
    return found


def to_csv(results: Results) -> str:
    """Return one line a row with every column, the keys of the figures, and the failure if there was one."""
    shown = columns(results)
    keys = ["sha256", "kind", "format", "variant", "precision"]
    keys += ["network", "runtime", "beside", "multiply_adds"]
    tails = ["p95_ms", "p99_ms"]
    drops = ["accuracy_low", "accuracy_high", "drop_low_pp", "drop_high_pp", "mcnemar_p", "agreement", "failure"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(column.key for column in shown), *keys, *tails, *drops, "data_sha256", "cpu", "effort"])
    for row in results.rows:
        drop = row.drop
        timed = row.headline
        tail = [timed.p95, timed.p99] if timed else [None] * 2
        share = [row.accuracy.low, row.accuracy.high] if row.accuracy else [None] * 2
        figures = [drop.low, drop.high, drop.p, drop.agreement] if drop else [None] * 4
        writer.writerow(
            [
                *(column.value(row) for column in shown),
                *(getattr(row, key) for key in keys[:-1]),
                row.macs.floating + row.macs.integer if row.macs else None,
                *tail,
                *share,
                *figures,
                row.failure,
                results.data.digest,
                results.machine.cpu,
                results.effort.name,
            ]
        )
    return text.getvalue()


def _number(
    key: str, title: str, explanation: str, value: Callable[[Row], float | None], pattern: str, *, scale: float = 1.0
) -> Column:
    def text(row: Row) -> str:
        found = value(row)
        return "" if found is None else with_minus_signs(pattern.format(found * scale))

    return Column(key, title, explanation, value, text)


def _accuracy(row: Row) -> float | None:
    return row.accuracy.accuracy if row.accuracy else None


def _unique(row: Row) -> float | None:
    return row.accuracy.unique.accuracy if row.accuracy and row.accuracy.unique else None


def _ece(row: Row) -> float | None:
    return row.accuracy.ece if row.accuracy else None


def _corrupted(row: Row) -> float | None:
    shares = [found.accuracy for found in row.corrupted if found.strength]
    return sum(shares) / len(shares) if shares else None


def _drop_pp(row: Row) -> float | None:
    return row.drop.pp if row.drop else None


def _drop_text(row: Row) -> str:
    return format_drop(row.drop) if row.drop else ""


def _verdict(row: Row) -> Value:
    if row.failure is not None:
        return f"failed: {row.failure}"
    return row.drop.verdict if row.drop else None


def _verdict_text(row: Row) -> str:
    return VERDICT_LABELS[row.drop.verdict][1] if row.drop and row.failure is None else ""


def _median(row: Row, threads: int) -> float | None:
    found = row.latency_at(threads)
    return found.inference.median if found else None


def _timing(pick: Callable[[Timing], float]) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        return pick(row.headline) if row.headline else None

    return value


def _whole(row: Row) -> float | None:
    found = row.latency_at(1)
    return found.whole.median if found and found.whole else None


def _throughput(row: Row, batch: int) -> float | None:
    def of(latency: Latency) -> list[float]:
        return [found.images_per_second for found in latency.throughput if found.batch == batch]

    return max((rate for latency in row.latency for rate in of(latency)), default=None)


def _instructions(row: Row, core: str) -> float | None:
    return next((found.count for found in row.instructions if found.core == core), None)


def _peak(row: Row) -> float | None:
    return row.memory.peak if row.memory else None


def _cold(name: str) -> Callable[[Row], float | None]:
    return lambda row: getattr(row.cold, name) if row.cold else None
