"""The regression gate, on made-up results that differ in one metric each."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from feredge.benchmark import latency
from feredge.benchmark.config import BenchmarkConfig
from feredge.benchmark.metrics import Accuracy, Instructions, Latency, SensorReading, ThrottlingState
from feredge.benchmark.regression import RegressionReport, find_regressions
from feredge.benchmark.results import Data, Machine, Results, Row
from feredge.errors import ResultsError

BASE_MACHINE = Machine("a CPU", "x86_64", ("avx2",), 2, 8 << 30, "performance", "Linux", {}, 0.0)


def row(name: str, correct: int, ms: float | None, millions: float | None = None) -> Row:
    """Return a row of 1,000 images."""
    timing = latency.summarize_rounds([np.full(10, int((ms or 1) * 1e6))] * 5)
    return Row(
        name=name,
        kind="float" if name == "float" else "artifact",
        format="onnx",
        variant="dense",
        precision="int8",
        sha256="ab",
        bytes=1,
        accuracy=Accuracy(correct, 1000, correct / 1000, 0, 1, (), (), 0, 0.5, 0),
        latency=(Latency(1, timing, None, None, ()),) if ms else (),
        instructions=(Instructions("cortex-a72", millions * 1e6, 0.0),) if millions else (),
    )


def results(*rows: Row, machine: Machine = BASE_MACHINE, digest: str = "cd" * 32) -> Results:
    """Return results with these rows."""
    data = Data("faces", digest, ("a", "b"), (500, 500), 0, 0)
    return Results({}, data, machine, BenchmarkConfig.preset("quick"), "2026-01-02", rows)


BASELINE_RESULTS = results(row("float", 640, 1.0), row("a.onnx", 635, 0.2, 5.0), row("b.onnx", 600, 0.4))
OTHER_MACHINE = dataclasses.replace(BASE_MACHINE, cpu="another CPU")


def compare(results: Results, baseline: Results = BASELINE_RESULTS) -> RegressionReport:
    """Compare with limits of 0.5 pp and 1.1 times."""
    return find_regressions(results, baseline, max_drop_pp=0.5, max_slowdown=1.1)


def regressions(results: Results, baseline: Results = BASELINE_RESULTS) -> list[str]:
    """Return the lines of what got worse by more than the limits."""
    return list(compare(results, baseline).regressions)


def test_changes_within_the_limits_pass() -> None:
    """Guards the limits themselves: exactly 0.5 pp and 1.1 times, a better file, and one that is new."""
    now = results(row("float", 640, 1.0), row("a.onnx", 630, 0.22, 5.5), row("b.onnx", 700, 0.1), row("c.onnx", 1, 9))
    report = compare(now, BASELINE_RESULTS)
    assert (report.files, report.regressions, report.notes) == (2, (), ())


def test_each_regression_is_a_line() -> None:
    """Guards each kind: accuracy, latency, instructions, a failure, a missing file."""
    now = results(row("float", 640, 1.0), row("a.onnx", 629, 0.23, 5.6))
    assert regressions(now) == [
        "a.onnx: accuracy 62.90 %, was 63.50 %: dropped by 0.60 pp, allowed 0.5",
        "a.onnx: 0.230 ms, was 0.200: median 1.15 times what it was, ratio to the float model 1.15 times what it was, "
        "allowed 1.1",
        "a.onnx: instructions on cortex-a72 1.12 times what they were, allowed 1.1",
        "b.onnx: was measured before, is missing now",
    ]
    failed = dataclasses.replace(row("b.onnx", 600, 0.4), failure="it crashed")
    assert regressions(results(row("float", 640, 1.0), row("a.onnx", 635, 0.2), failed)) == [
        "b.onnx: failed (it crashed)"
    ]


def test_a_slower_machine_is_no_slower_file() -> None:
    """Guards against blaming files for a busy machine, and against a slower float model hiding a slower file."""
    busy = results(row("float", 640, 1.5), row("a.onnx", 635, 0.3), row("b.onnx", 600, 0.9))
    assert [line.split(":")[0] for line in regressions(busy)] == ["b.onnx"]
    assert "1.50 times" in compare(busy, BASELINE_RESULTS).notes[0]
    faster_float = results(row("float", 640, 0.5), row("a.onnx", 635, 0.2), row("b.onnx", 600, 0.4))
    assert regressions(faster_float) == []


def test_other_machines_compare_by_the_float_model() -> None:
    """Guards against comparing milliseconds of two machines; without a float model, none are compared."""
    now = results(row("float", 640, 8.0), row("a.onnx", 635, 1.6), row("b.onnx", 600, 4.0), machine=OTHER_MACHINE)
    assert [line.split(":")[0] for line in regressions(now)] == ["b.onnx"]
    untimed = results(row("float", 640, None), row("a.onnx", 635, 9.0), row("b.onnx", 600, 9.0), machine=OTHER_MACHINE)
    report = compare(untimed, BASELINE_RESULTS)
    assert report.regressions == () and "latencies were not compared" in report.notes[0]
    device = results(row("float", 640, None), row("a.onnx", 635, 0.3), row("b.onnx", 600, 0.4))
    assert [line.split(":")[0] for line in regressions(device, device)] == []
    slower = results(row("float", 640, None), row("a.onnx", 635, 0.34), row("b.onnx", 600, 0.4))
    assert [line.split(":")[0] for line in regressions(slower, device)] == ["a.onnx"]


def test_other_data_are_refused() -> None:
    """Guards against comparing accuracies on other images."""
    with pytest.raises(ResultsError, match="expected results on data of SHA-256 efef"):
        compare(results(*BASELINE_RESULTS.rows, digest="ef" * 32), BASELINE_RESULTS)
    other = dataclasses.replace(BASELINE_RESULTS, data=dataclasses.replace(BASELINE_RESULTS.data, images=(400, 500)))
    with pytest.raises(ResultsError, match="expected the same test images"):
        compare(other, BASELINE_RESULTS)
    with pytest.raises(ResultsError, match="expected files of the same names"):
        compare(results(row("c.onnx", 1, 1.0)), BASELINE_RESULTS)


def test_missing_instruction_counts_are_reported() -> None:
    """Guards a count that failed passing for one that did not grow; a core that was not requested is none."""
    failed = dataclasses.replace(
        BASELINE_RESULTS.rows[1], instructions=(Instructions("cortex-a72", None, None, "no qemu"),)
    )
    now = dataclasses.replace(BASELINE_RESULTS, rows=(BASELINE_RESULTS.rows[0], failed, BASELINE_RESULTS.rows[2]))
    assert regressions(now) == ["a.onnx: instructions on cortex-a72 were counted before, not now (no qemu)"]
    not_requested = dataclasses.replace(failed, instructions=())
    now = dataclasses.replace(now, rows=(BASELINE_RESULTS.rows[0], not_requested, BASELINE_RESULTS.rows[2]))
    assert regressions(now) == []


def test_other_images_of_the_same_data_are_refused() -> None:
    """Guards a gate over another split of the same source."""
    first, second = (
        dataclasses.replace(
            BASELINE_RESULTS,
            rows=tuple(dataclasses.replace(row, test_set_digest=digest) for row in BASELINE_RESULTS.rows),
        )
        for digest in ("ab", "cd")
    )
    assert regressions(first, first) == []
    with pytest.raises(ResultsError, match="expected the same test images"):
        regressions(first, second)


def test_throttled_rounds_are_not_compared() -> None:
    """Guards against a file called slower because the machine was hot in every round."""
    cool, hot = row("a.onnx", 700, 1.0), row("a.onnx", 700, 2.0)
    quiet = SensorReading("", None, ())
    (timed,) = hot.latency
    slowed = dataclasses.replace(timed, conditions=(ThrottlingState(quiet, quiet, ("throttled",)),) * 5)
    assert compare(results(hot), results(cool)).regressions
    hot = dataclasses.replace(hot, latency=(slowed,))
    report = compare(results(hot), results(cool))
    assert not report.regressions and "throttled in every round of a.onnx" in report.notes[0]
