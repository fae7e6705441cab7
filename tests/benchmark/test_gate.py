"""The gate, on results that differ in what they say they do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from feredge.benchmark import latency
from feredge.benchmark.gate import compare
from feredge.benchmark.metrics import Accuracy, Condition, Instructions, Latency, Reading
from feredge.benchmark.results import Data, Machine, Results, Row
from feredge.errors import ResultsError

MACHINE = Machine("a CPU", "x86_64", ("avx2",), 2, 8 << 30, "performance", "Linux", {}, 0.0)


def row(name: str, correct: int, ms: float | None, millions: float | None = None) -> Row:
    """Return a row of 1,000 images."""
    timing = latency.summarize([np.full(10, int((ms or 1) * 1e6))] * 5)
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


def results(*rows: Row, machine: Machine = MACHINE, digest: str = "cd" * 32) -> Results:
    """Return results with these rows."""
    data = Data("faces", digest, ("a", "b"), (500, 500), 0, 0)
    return Results({}, data, machine, latency.effort("quick"), "2026-01-02", rows)


BEFORE = results(row("float", 640, 1.0), row("a.onnx", 635, 0.2, 5.0), row("b.onnx", 600, 0.4))
ELSEWHERE = dataclasses.replace(MACHINE, cpu="another CPU")


def worse(now: Results, before: Results = BEFORE) -> list[str]:
    """Return what got worse by more than 0.5 pp and 1.1 times."""
    return list(compare(now, before, max_drop=0.5, max_slower=1.1).worse)


def test_what_is_let_pass_passes() -> None:
    """Guards the limits themselves: exactly 0.5 pp and 1.1 times, a better file, and one that is new."""
    now = results(row("float", 640, 1.0), row("a.onnx", 630, 0.22, 5.5), row("b.onnx", 700, 0.1), row("c.onnx", 1, 9))
    verdict = compare(now, BEFORE, max_drop=0.5, max_slower=1.1)
    assert (verdict.files, verdict.worse, verdict.notes) == (2, (), ())


def test_what_got_worse_is_named() -> None:
    """Guards each complaint: accuracy, latency, instructions, a failure, a file that is gone."""
    now = results(row("float", 640, 1.0), row("a.onnx", 629, 0.23, 5.6))
    assert worse(now) == [
        "a.onnx: accuracy 62.90 %, was 63.50 %: lost 0.60 pp, 0.5 are let pass",
        "a.onnx: 0.230 ms, was 0.200: median 1.15 times what it was, ratio to the float model 1.15 times what it was, "
        "1.1 are let pass",
        "a.onnx: instructions on cortex-a72 1.12 times what they were, 1.1 are let pass",
        "b.onnx: was measured before, is not there now",
    ]
    failed = dataclasses.replace(row("b.onnx", 600, 0.4), failure="it crashed")
    assert worse(results(row("float", 640, 1.0), row("a.onnx", 635, 0.2), failed)) == ["b.onnx: failed (it crashed)"]


def test_a_slower_machine_is_no_slower_file() -> None:
    """Guards against blaming files for a busy machine, and against a slower float model hiding a slower file."""
    busy = results(row("float", 640, 1.5), row("a.onnx", 635, 0.3), row("b.onnx", 600, 0.9))
    assert [line.split(":")[0] for line in worse(busy)] == ["b.onnx"]
    assert "1.50 times" in compare(busy, BEFORE, max_drop=0.5, max_slower=1.1).notes[0]
    faster_float = results(row("float", 640, 0.5), row("a.onnx", 635, 0.2), row("b.onnx", 600, 0.4))
    assert worse(faster_float) == []


def test_other_machines_compare_by_the_float_model() -> None:
    """Guards against comparing milliseconds of two machines; without a float model, nothing is claimed."""
    now = results(row("float", 640, 8.0), row("a.onnx", 635, 1.6), row("b.onnx", 600, 4.0), machine=ELSEWHERE)
    assert [line.split(":")[0] for line in worse(now)] == ["b.onnx"]
    untimed = results(row("float", 640, None), row("a.onnx", 635, 9.0), row("b.onnx", 600, 9.0), machine=ELSEWHERE)
    verdict = compare(untimed, BEFORE, max_drop=0.5, max_slower=1.1)
    assert verdict.worse == () and "latencies were not compared" in verdict.notes[0]
    device = results(row("float", 640, None), row("a.onnx", 635, 0.3), row("b.onnx", 600, 0.4))
    assert [line.split(":")[0] for line in worse(device, device)] == []
    slower = results(row("float", 640, None), row("a.onnx", 635, 0.34), row("b.onnx", 600, 0.4))
    assert [line.split(":")[0] for line in worse(slower, device)] == ["a.onnx"]


def test_other_data_are_refused() -> None:
    """Guards against comparing accuracies on other images."""
    with pytest.raises(ResultsError, match="expected results on data of SHA-256 efef"):
        compare(results(*BEFORE.rows, digest="ef" * 32), BEFORE, max_drop=0.5, max_slower=1.1)
    other = dataclasses.replace(BEFORE, data=dataclasses.replace(BEFORE.data, images=(400, 500)))
    with pytest.raises(ResultsError, match="expected the same test images"):
        compare(other, BEFORE, max_drop=0.5, max_slower=1.1)
    with pytest.raises(ResultsError, match="expected files of the same names"):
        compare(results(row("c.onnx", 1, 1.0)), BEFORE, max_drop=0.5, max_slower=1.1)


def test_what_is_no_longer_counted_is_named() -> None:
    """Guards a count that failed passing for one that did not grow; a core that nobody asked for is no complaint."""
    failed = dataclasses.replace(BEFORE.rows[1], instructions=(Instructions("cortex-a72", None, None, "no qemu"),))
    now = dataclasses.replace(BEFORE, rows=(BEFORE.rows[0], failed, BEFORE.rows[2]))
    assert worse(now) == ["a.onnx: instructions on cortex-a72 were counted before, not now (no qemu)"]
    unasked = dataclasses.replace(failed, instructions=())
    assert worse(dataclasses.replace(BEFORE, rows=(BEFORE.rows[0], unasked, BEFORE.rows[2]))) == []


def test_other_images_of_the_same_data_are_refused() -> None:
    """Guards a gate over another split of the same source."""
    here, there = (
        dataclasses.replace(BEFORE, rows=tuple(dataclasses.replace(row, judged=digest) for row in BEFORE.rows))
        for digest in ("ab", "cd")
    )
    assert worse(here, here) == []
    with pytest.raises(ResultsError, match="expected the same test images"):
        worse(here, there)


def test_slowed_rounds_are_not_compared() -> None:
    """Guards against a file called slower because the machine was hot in every round."""
    cool, hot = row("a.onnx", 700, 1.0), row("a.onnx", 700, 2.0)
    quiet = Reading("", None, ())
    (timed,) = hot.latency
    slowed = dataclasses.replace(timed, conditions=(Condition(quiet, quiet, ("throttled",)),) * 5)
    assert compare(results(hot), results(cool), max_drop=0.5, max_slower=1.1).worse
    hot = dataclasses.replace(hot, latency=(slowed,))
    found = compare(results(hot), results(cool), max_drop=0.5, max_slower=1.1)
    assert not found.worse and "held down in every round of a.onnx" in found.notes[0]
