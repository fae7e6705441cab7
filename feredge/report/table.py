"""Columns of the results table, shared by all forms of the report, and the csv."""

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
    """A column of the results table.

    Attributes:
        key: its name in csv.
        title: its heading elsewhere.
        explanation: its meaning, as a phrase.
        value: of a row, for sorting and csv.
        text: the formatted value; empty where there is none.
    """

    key: str
    title: str
    explanation: str
    value: Callable[[Row], Value]
    text: Callable[[Row], str]


ROOFLINE_EXPLANATION = "multiply-add rate over this machine's peak rate in the same arithmetic, one thread"

SIZE_EXPLANATION = "size on disk, 1 KB = 1,000 bytes; of a C library its weights and tables in flash, beside the code"
TRANSFER_EXPLANATION = "runtime and model as a page loads them, compressed with gzip -9; of runtimes in a browser"
SPEED_UP_HEADING = "× float32"
SPEED_UP_EXPLANATION = "speedup: median of the float32 file of the same network in the same runtime, over this"

AURC_EXPLANATION = "area under the risk-coverage curve: error of the most confident predictions, over all coverages"
COVERAGE_EXPLANATION = "percentage of the test images, the most confident, of which 90% are right"


def columns(results: Results) -> list[Column]:
    """Return the columns of `results`, the most important first."""
    table = [*_main_columns(results), *_benchmark_columns(results)]
    if any(row.images for row in results.rows):

        def text(row: Row) -> str:
            classes = (
                f", {len(row.classes)} classes" if len(results.class_names(row)) != len(results.data.classes) else ""
            )
            return f"{sum(results.images_per_class(row)):,}{classes}"

        meaning = "number of test images, and of classes where they differ from the data's"
        table.insert(
            3, Column("test_images", "test images", meaning, lambda row: sum(results.images_per_class(row)), text)
        )
    if any(row.corrupted for row in results.rows):
        meaning = "mean accuracy over all kinds and severities of corruption"
        table.append(_number("corrupted_accuracy", "corrupted %", meaning, _corrupted, "{:.2f}", scale=100))
    if any(row.transfer_bytes for row in results.rows):
        table.append(
            _number("transfer_bytes", "over the wire KB", TRANSFER_EXPLANATION, _transfer, "{:,.0f}", scale=1e-3)
        )
    return [*table, *_further_columns()]


def _main_columns(results: Results) -> list[Column]:
    """Return the columns of size, accuracy and latency at one thread."""

    def speed_up(row: Row) -> float | None:
        float32_file = results.float32_file_of(row)
        return float32_file.latency_ratio(row) if float32_file else None

    reference = "float model" if results.reference else "float32 file"
    arithmetic = f"over every test image, computed by {runtimes_by_format(results)}"
    return [
        Column("file", "file", "variant, precision and format", lambda row: row.name, lambda row: row.name),
        _number("bytes", "KB", SIZE_EXPLANATION, _size_bytes, "{:,.0f}", scale=1e-3),
        _number("accuracy", "accuracy %", arithmetic, _accuracy, "{:.2f}", scale=100),
        Column("drop_pp", "drop pp", f"{reference}'s accuracy minus this, with 95% interval", _drop_pp, _drop_text),
        Column("verdict", "verdict", "of the statistical tests of the drop", _verdict, _verdict_text),
        _number("median_ms", "median ms", "inference of one image, one thread", _timing(lambda t: t.median), "{:.3f}"),
        _number("p90_ms", "p90 ms", "90th percentile of the inference", _timing(lambda t: t.p90), "{:.3f}"),
        _number("speed_up", SPEED_UP_HEADING, SPEED_UP_EXPLANATION, speed_up, "{:.1f}"),
        _number("roofline", "% of peak", ROOFLINE_EXPLANATION, lambda row: row.roofline, "{:.0f}", scale=100),
        _number("end_to_end_ms", "end-to-end ms", "from a colour crop to a class, median", _end_to_end_ms, "{:.3f}"),
    ]


def _benchmark_columns(results: Results) -> list[Column]:
    """Return the columns of further thread counts, batch sizes and emulated cores, as far as they were measured."""
    threads_columns = [
        _number(
            f"median_{threads}_threads_ms",
            f"{threads} threads ms",
            f"inference of one image on {threads} threads, median",
            lambda row, threads=threads: _median(row, threads),  # type: ignore[misc]
            "{:.3f}",
        )
        for threads in results.config.threads[1:]
    ]
    batch_columns = [
        _number(
            f"images_per_second_batch_{batch}",
            "images/s",
            f"in batches of {batch}, at the fastest thread count",
            lambda row, batch=batch: _throughput(row, batch),  # type: ignore[misc]
            "{:,.0f}",
        )
        for batch in results.config.batches
    ]
    core_columns = [
        _number(
            f"instructions_{core}",
            f"M instr. {core.removeprefix('cortex-')}",
            f"millions of instructions per inference on an emulated {core}; not a measure of time",
            lambda row, core=core: _instructions(row, core),  # type: ignore[misc]
            "{:.2f}",
            scale=1e-6,
        )
        for core in dict.fromkeys(item.core for row in results.rows for item in row.instructions)
    ]
    return [*threads_columns, *batch_columns, *core_columns]


def _further_columns() -> list[Column]:
    """Return the columns of calibration, memory, cold start and noise."""
    unique = "accuracy on test images without duplicates elsewhere"
    drift = "mean confidence minus the float model's, in percentage points"
    load = "in a new process: import of the runtime, and the file"
    spread = "slowest round's median over the fastest round's, minus 1"
    return [
        _number("unique_accuracy", "without duplicates %", unique, _unique, "{:.2f}", scale=100),
        _number("aurc", "AURC %", AURC_EXPLANATION, _aurc, "{:.2f}", scale=100),
        _number("coverage_at_90", "coverage at 90% precision", COVERAGE_EXPLANATION, _coverage, "{:.0f}", scale=100),
        _number("ece", "ECE %", "expected calibration error, over 15 bins", _ece, "{:.2f}", scale=100),
        _number("confidence_drift", "confidence drift pp", drift, _confidence_drift, "{:+.2f}", scale=100),
        _number("peak_bytes", "peak RSS MB", "peak resident set size of its process", _peak, "{:.0f}", scale=1e-6),
        _number("load_ms", "load ms", load, _cold("load"), "{:.0f}"),
        _number("first_call_ms", "first call ms", "the first call after loading", _cold("first_call"), "{:.2f}"),
        _number("spread", "spread %", spread, _timing(lambda t: t.spread), "{:.0f}", scale=100),
    ]


def runtimes_by_format(results: Results) -> str:
    """Return the runtime of each measured file format, `onnxruntime (onnx), LiteRT with XNNPACK (tflite)`."""
    formats: dict[str, list[str]] = {}
    for row in results.rows:
        if row.accuracy and row.format not in formats.setdefault(row.runtime_title, []):
            formats[row.runtime_title].append(row.format)
    return ", ".join(f"{runtime} ({', '.join(names)})" for runtime, names in formats.items()) or "no runtime"


def to_csv(results: Results) -> str:
    """Return csv with a line per row: all columns, what identifies the row, further metrics, and the failure if any."""
    table_columns = columns(results)
    keys = ["sha256", "kind", "format", "variant", "precision"]
    keys += ["network", "runtime", "reference_row", "multiply_adds"]
    quantiles = ["p95_ms", "p99_ms"]
    drops = ["accuracy_low", "accuracy_high", "drop_low_pp", "drop_high_pp", "mcnemar_p", "agreement", "failure"]
    source = ["data_sha256", "cpu", "effort"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(column.key for column in table_columns), *keys, *quantiles, *drops, *source])
    for row in results.rows:
        drop = row.drop
        timing = row.main_latency
        timing_values = [timing.p95, timing.p99] if timing else [None] * 2
        accuracy_values = [row.accuracy.low, row.accuracy.high] if row.accuracy else [None] * 2
        drop_values = [drop.low, drop.high, drop.p, drop.agreement] if drop else [None] * 4
        writer.writerow(
            [
                *(column.value(row) for column in table_columns),
                *(getattr(row, key) for key in keys[:-1]),
                row.macs.floating + row.macs.integer if row.macs else None,
                *timing_values,
                *accuracy_values,
                *drop_values,
                row.failure,
                results.data.digest,
                results.machine.cpu,
                results.config.name,
            ]
        )
    return text.getvalue()


def _number(
    key: str, title: str, explanation: str, value: Callable[[Row], float | None], pattern: str, *, scale: float = 1.0
) -> Column:
    def text(row: Row) -> str:
        number = value(row)
        return "" if number is None else with_minus_signs(pattern.format(number * scale))

    return Column(key, title, explanation, value, text)


def _size_bytes(row: Row) -> float:
    return row.bytes if row.constant_bytes is None else row.constant_bytes


def _accuracy(row: Row) -> float | None:
    return row.accuracy.accuracy if row.accuracy else None


def _unique(row: Row) -> float | None:
    return row.accuracy.unique.accuracy if row.accuracy and row.accuracy.unique else None


def _aurc(row: Row) -> float | None:
    return row.accuracy.risk_coverage.area if row.accuracy and row.accuracy.risk_coverage else None


def _coverage(row: Row) -> float | None:
    return row.accuracy.risk_coverage.coverage_at(0.9) if row.accuracy and row.accuracy.risk_coverage else None


def _ece(row: Row) -> float | None:
    return row.accuracy.ece if row.accuracy else None


def _corrupted(row: Row) -> float | None:
    accuracies = [corrupted.accuracy for corrupted in row.corrupted if corrupted.strength]
    return sum(accuracies) / len(accuracies) if accuracies else None


def _confidence_drift(row: Row) -> float | None:
    return row.drop.confidence if row.drop else None


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
    latency = row.latency_at(threads)
    return latency.inference.median if latency else None


def _timing(attribute: Callable[[Timing], float]) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        return attribute(row.main_latency) if row.main_latency else None

    return value


def _end_to_end_ms(row: Row) -> float | None:
    latency = row.latency_at(1)
    return latency.whole.median if latency and latency.whole else None


def _throughput(row: Row, batch: int) -> float | None:
    def rates(latency: Latency) -> list[float]:
        return [throughput.images_per_second for throughput in latency.throughput if throughput.batch == batch]

    return max((rate for latency in row.latency for rate in rates(latency)), default=None)


def _instructions(row: Row, core: str) -> float | None:
    return next((item.count for item in row.instructions if item.core == core), None)


def _transfer(row: Row) -> float | None:
    return row.transfer_bytes


def _peak(row: Row) -> float | None:
    return row.memory.peak if row.memory else None


def _cold(name: str) -> Callable[[Row], float | None]:
    return lambda row: getattr(row.cold_start, name) if row.cold_start else None
