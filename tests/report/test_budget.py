"""Selection by budget: the selected file, the reasons against the others, the exit codes."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from feredge.benchmark.metrics import Latency, SensorReading, ThrottlingState
from feredge.benchmark.results import ALL_THROTTLED, Results
from feredge.cli import main
from feredge.errors import ResultsError
from feredge.report import text
from feredge.report.budget import Budget, select
from feredge.report.recommendation import recommend


def test_the_selected_file_fits_and_every_other_has_a_reason(results: Results) -> None:
    """Guards each limit, computed independently, and that every rejected file has a reason."""
    budget = Budget(max_drop_pp=1.0, max_size_kb=150, max_p90_ms=0.6)
    selection = select(results, budget)
    artifacts = [row for row in results.rows if row.kind == "artifact"]
    assert selection.selected is not None and len(selection.rejected) == len(artifacts) - 1
    fits = [
        row
        for row in artifacts
        if row.drop and row.drop.pp <= 1 and row.bytes <= 150_000 and row.main_latency and row.main_latency.p90 <= 0.6
    ]
    assert selection.selected in fits
    reasons = {row.name: reason for row, reason in selection.rejected}
    for row in artifacts:
        assert row == selection.selected or reasons[row.name].startswith("fits, but") == (row in fits)
    assert "could not be measured" in reasons[next(row.name for row in artifacts if row.failure)]
    assert "150" in reasons["dense.float32.onnx"]


def test_latencies_of_a_device_are_matched_by_digest(results: Results) -> None:
    """Guards that accuracy is the run's and latency the device's, matched by digest and not by name."""
    fast = next(row for row in results.rows if row.name == "dense.float32.tflite")
    other_rows = [row for row in results.rows if row.name != fast.name]
    device = dataclasses.replace(results, rows=(dataclasses.replace(fast, name="renamed"),))
    selection = select(results, Budget(), device=device)
    assert selection.selected == fast and selection.timing == device.rows[0].main_latency
    assert all("was not timed" in reason or "measured" in reason for _, reason in selection.rejected)
    other_files = dataclasses.replace(results, rows=(dataclasses.replace(other_rows[1], sha256="0" * 64),))
    with pytest.raises(ResultsError, match="to be of this run's files, found none"):
        select(results, Budget(), device=other_files)


def test_other_runtimes_and_unknown_drops_are_ignored(results: Results) -> None:
    """Guards against the latency of another runtime, and against a drop limit that was not set."""
    fast = next(row for row in results.rows if row.name == "dense.float32.tflite")
    (latency, *_) = fast.latency
    slow_latency = dataclasses.replace(latency, inference=dataclasses.replace(latency.inference, median=99.0, p90=99.0))
    other_runtime = dataclasses.replace(fast, name="slow", runtime="TFLite Micro", latency=(slow_latency,), bytes=1)
    device = dataclasses.replace(results, rows=(fast, other_runtime))
    assert select(results, Budget(max_p90_ms=90), device=device).selected == fast
    no_drop = dataclasses.replace(results, rows=(dataclasses.replace(fast, drop=None), other_runtime))
    assert select(no_drop, Budget(max_size_kb=1000)).selected == no_drop.rows[0]
    assert select(no_drop, Budget(max_drop_pp=5)).selected is None


def test_memory_limits_take_a_c_library_only(results: Results) -> None:
    """Guards limits on RAM and flash: files that state neither cannot meet them."""
    first, *others = [row for row in results.rows if row.kind == "artifact" and not row.failure]
    library = dataclasses.replace(first, name="dense.int8.c", format="c", arena_bytes=46_800, constant_bytes=76_104)
    results = dataclasses.replace(results, rows=(library, *others))
    assert select(results, Budget(max_ram_kb=46.8, max_flash_kb=76.2)).selected == library
    reasons = {row.name: reason for row, reason in select(results, Budget(max_ram_kb=46)).rejected}
    assert reasons["dense.int8.c"] == "46.8 KB of RAM, allowed 46"
    assert "its RAM is not known, only that of C libraries is" in reasons[others[0].name]
    reasons = {row.name: reason for row, reason in select(results, Budget(max_flash_kb=70)).rejected}
    assert reasons["dense.int8.c"] == "76.1 KB of flash, allowed 70"
    assert "dense.int8.c" in text.to_markdown(results) and "| 76 |" in text.to_markdown(results)


@pytest.mark.parametrize(
    "limits",
    [{"max_ram_kb": 0}, {"max_drop_pp": -1}, {"max_size_kb": -3}, {"max_p90_ms": 0}, {"max_drop_pp": math.nan}],
)
def test_a_budget_that_no_file_can_meet_is_an_error(limits: dict[str, float]) -> None:
    """Guards against a mistyped limit, which no file or every file would pass."""
    with pytest.raises(ResultsError, match="that a file can have"):
        Budget(**limits)


def test_exit_codes_of_the_command(results: Results, tmp_path: Path) -> None:
    """Guards the exit codes: 0 with a selected file, 1 where no file fits, 2 for bad input."""
    path = tmp_path / "results.json"
    results.write(path)

    def run(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["select", str(path), *options])
        return done.exit_code, done.output

    code, output = run("--max-kb", "150", "--max-drop", "1")
    selection = select(results, Budget(1, 150))
    assert selection.selected and selection.selected.drop and selection.timing
    drop, timing = selection.selected.drop, selection.timing
    assert code == 0 and output.startswith(
        f"{selection.selected.name}: {selection.selected.bytes / 1000:.0f} KB, "
        f"drop {drop.pp:+.2f} pp [{drop.low:.2f}, {drop.high:.2f}], "
        f"median {timing.median:.3f} ms, p90 {timing.p90:.3f} ms"
    )
    code, output = run("--max-kb", "1")
    assert code == 1 and output.startswith("no file fits")
    assert run("--max-kb", "-1")[0] == run("--device", str(tmp_path / "none.json"))[0] == 2


def _throttled(results: Results, names: set[str], rounds: set[int]) -> Results:
    """Return results with throttling in these rounds, counted from 1, of these files, and latencies tripled."""
    reading = SensorReading("performance", 50.0, ())

    def change(latency: Latency) -> Latency:
        conditions = tuple(
            ThrottlingState(reading, reading, ("throttled",) if at in rounds else ()) for at in range(1, 6)
        )
        parts = tuple(
            dataclasses.replace(one, median=3 * one.median, p90=3 * one.p90) if at in rounds else one
            for at, one in enumerate(latency.inference.rounds, start=1)
        )
        slow = dataclasses.replace(latency.inference, median=3 * latency.inference.median, p90=9.0, rounds=parts)
        return dataclasses.replace(latency, inference=slow, conditions=conditions)

    rows = (
        dataclasses.replace(row, latency=tuple(map(change, row.latency))) if row.name in names else row
        for row in results.rows
    )
    return dataclasses.replace(results, rows=tuple(rows))


def test_rounds_with_throttling_are_excluded(results: Results) -> None:
    """Guards the selection of a file with throttling in most rounds: it is selected by the others."""
    budget = Budget(max_drop_pp=1.0, max_p90_ms=0.6)
    selected, recommended = select(results, budget).selected, recommend(results).row
    assert selected is not None and recommended is not None
    some_rounds = _throttled(results, {selected.name, recommended.name}, {1, 2, 3})
    row, recommended_row = select(some_rounds, budget).selected, recommend(some_rounds).row
    assert row is not None and row.name == selected.name
    assert recommended_row is not None and recommended_row.name == recommended.name
    all_rounds = _throttled(results, {selected.name}, {1, 2, 3, 4, 5})
    selection = select(all_rounds, budget)
    assert selection.selected is not None and selection.selected.name != selected.name
    assert not selection.all_throttled
    assert {row.name: reason for row, reason in selection.rejected}[selected.name] == ALL_THROTTLED


def test_nothing_is_selected_where_every_round_has_throttling(results: Results, tmp_path: Path) -> None:
    """Guards results without a valid latency: `select` ends with 1, and every output begins with the reason."""
    throttled = _throttled(results, {row.name for row in results.rows}, {1, 2, 3, 4, 5})
    recommendation = recommend(throttled)
    assert recommendation.row is None and ALL_THROTTLED in recommendation.reasons[0]
    assert ALL_THROTTLED in text.to_markdown(throttled).splitlines()[0]
    assert ALL_THROTTLED in text.to_terminal(throttled).splitlines()[0]
    throttled.write(tmp_path / "results.json")
    done = CliRunner().invoke(main, ["select", str(tmp_path / "results.json")])
    assert done.exit_code == 1 and done.output.startswith(ALL_THROTTLED)
