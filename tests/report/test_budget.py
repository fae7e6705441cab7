"""Choosing by budget: what fits, why the rest lost, and what a gate in CI sees."""

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
from feredge.report.recommend import choose


def test_the_winner_fits_and_every_other_has_a_reason(results: Results) -> None:
    """Guards each limit, computed here another way, and that no file is left without a word."""
    budget = Budget(drop=1.0, kilobytes=150, p90=0.6)
    found = select(results, budget)
    artifacts = [row for row in results.rows if row.kind == "artifact"]
    assert found.winner is not None and len(found.others) == len(artifacts) - 1
    fits = [
        row
        for row in artifacts
        if row.drop and row.drop.pp <= 1 and row.bytes <= 150_000 and row.headline and row.headline.p90 <= 0.6
    ]
    assert found.winner in fits
    said = {row.name: reason for row, reason in found.others}
    for row in artifacts:
        assert row == found.winner or said[row.name].startswith("fits, but") == (row in fits)
    assert "could not be measured" in said[next(row.name for row in artifacts if row.failure)]
    assert "150" in said["dense.float32.onnx"]


def test_a_device_has_its_own_clock(results: Results) -> None:
    """Guards that accuracy is the run's and latency the device's, matched by digest and not by name."""
    fast = next(row for row in results.rows if row.name == "dense.float32.tflite")
    timed = [row for row in results.rows if row.name != fast.name]
    device = dataclasses.replace(results, rows=(dataclasses.replace(fast, name="renamed"),))
    found = select(results, Budget(), device=device)
    assert found.winner == fast
    assert all("was not timed" in reason or "measured" in reason for _, reason in found.others)
    strange = dataclasses.replace(results, rows=(dataclasses.replace(timed[1], sha256="0" * 64),))
    with pytest.raises(ResultsError, match="to be of this run's files, found none"):
        select(results, Budget(), device=strange)


def test_other_runtimes_and_unknown_drops_decide_nothing(results: Results) -> None:
    """Guards a file's time in another runtime taken for its own, and limits that were not asked for."""
    fast = next(row for row in results.rows if row.name == "dense.float32.tflite")
    (latency, *_) = fast.latency
    crawling = dataclasses.replace(latency, inference=dataclasses.replace(latency.inference, median=99.0, p90=99.0))
    elsewhere = dataclasses.replace(fast, name="slow", runtime="TFLite Micro", latency=(crawling,), bytes=1)
    device = dataclasses.replace(results, rows=(fast, elsewhere))
    assert select(results, Budget(p90=90), device=device).winner == fast
    alone = dataclasses.replace(results, rows=(dataclasses.replace(fast, drop=None), elsewhere))
    assert select(alone, Budget(kilobytes=1000)).winner == alone.rows[0]
    assert select(alone, Budget(drop=5)).winner is None


@pytest.mark.parametrize("limits", [{"drop": -1}, {"kilobytes": -3}, {"p90": 0}, {"drop": math.nan}])
def test_a_budget_that_no_file_can_meet_is_refused(limits: dict[str, float]) -> None:
    """Guards a mistyped gate, which would fail for ever or pass everything."""
    with pytest.raises(ResultsError, match="that a file can have"):
        Budget(**limits)


def test_the_command_is_a_gate(results: Results, tmp_path: Path) -> None:
    """Guards the exit codes: 0 with a winner, 1 where nothing fits, 2 for bad input."""
    path = tmp_path / "results.json"
    results.write(path)

    def run(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["select", str(path), *options])
        return done.exit_code, done.output

    code, output = run("--max-kb", "150", "--max-drop", "1")
    assert code == 0 and output.startswith(select(results, Budget(1, 150)).winner.name)  # type: ignore[union-attr]
    code, output = run("--max-kb", "1")
    assert code == 1 and output.startswith("nothing fits")
    assert run("--max-kb", "-1")[0] == run("--device", str(tmp_path / "none.json"))[0] == 2


def _slowed(results: Results, names: set[str], rounds: set[int]) -> Results:
    """Return results whose clock was held down in these rounds, from 1 up, of these files, and its times tripled."""
    quiet = SensorReading("performance", 50.0, ())

    def change(found: Latency) -> Latency:
        conditions = tuple(ThrottlingState(quiet, quiet, ("throttled",) if at in rounds else ()) for at in range(1, 6))
        parts = tuple(
            dataclasses.replace(one, median=3 * one.median, p90=3 * one.p90) if at in rounds else one
            for at, one in enumerate(found.inference.rounds, start=1)
        )
        slow = dataclasses.replace(found.inference, median=3 * found.inference.median, p90=9.0, rounds=parts)
        return dataclasses.replace(found, inference=slow, conditions=conditions)

    rows = (
        dataclasses.replace(row, latency=tuple(map(change, row.latency))) if row.name in names else row
        for row in results.rows
    )
    return dataclasses.replace(results, rows=tuple(rows))


def test_rounds_with_a_slowed_clock_decide_nothing(results: Results) -> None:
    """Guards a cool file that was hit by heat in most rounds: the valid rounds choose it all the same."""
    budget = Budget(drop=1.0, p90=0.6)
    winner, shipped = select(results, budget).winner, choose(results).row
    assert winner is not None and shipped is not None
    hot = _slowed(results, {winner.name, shipped.name}, {1, 2, 3})
    again, ships = select(hot, budget).winner, choose(hot).row
    assert again is not None and again.name == winner.name
    assert ships is not None and ships.name == shipped.name
    gone = _slowed(results, {winner.name}, {1, 2, 3, 4, 5})
    found = select(gone, budget)
    assert found.winner is not None and found.winner.name != winner.name and not found.all_slowed
    assert {row.name: reason for row, reason in found.others}[winner.name] == ALL_THROTTLED


def test_nothing_is_chosen_where_every_round_was_slowed(results: Results, tmp_path: Path) -> None:
    """Guards a figure that no file has: select ends with 1, and it and the verdict say so before anything else."""
    hot = _slowed(results, {row.name for row in results.rows}, {1, 2, 3, 4, 5})
    choice = choose(hot)
    assert choice.row is None and ALL_THROTTLED in choice.steps[0]
    assert ALL_THROTTLED in text.to_markdown(hot).splitlines()[0]
    assert ALL_THROTTLED in text.to_terminal(hot).splitlines()[0]
    hot.write(tmp_path / "results.json")
    done = CliRunner().invoke(main, ["select", str(tmp_path / "results.json")])
    assert done.exit_code == 1 and done.output.startswith(ALL_THROTTLED)
