"""The bench command's gate: its exit codes, and what it refuses before it measures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import feredge.recipes as recipes
from feredge.api import benchmarking
from feredge.benchmark import latency
from feredge.benchmark.accuracy import accuracy
from feredge.benchmark.config import BenchmarkConfig
from feredge.benchmark.load_metrics import LoadConfig
from feredge.benchmark.metrics import Latency
from feredge.benchmark.results import Data, Machine, Results, Row
from feredge.cli import main
from feredge.commands import bench, measuring
from feredge.data import load
from feredge.errors import ResultsError
from feredge.inference.contract import CLASSES
from feredge.inference.foreign import ForeignModel
from feredge.run import RunFolder

NANO = Path(__file__).parents[2] / "models" / "nano"


@pytest.fixture
def results() -> Results:
    """Made-up results of one file on 70 images."""
    timing = latency.summarize_rounds([np.full(40, 200_000)] * 5)
    labels = np.arange(70) % 7
    found = accuracy(np.eye(7, dtype=np.float32)[labels], labels)
    row = Row("a.onnx", "artifact", "onnx", "a", "int8", "ab" * 32, 1, accuracy=found)
    row = replace(row, latency=(Latency(1, timing, None, None, ()),))
    machine = Machine("a CPU", "x86_64", (), 2, 1, "performance", "Linux", {}, 0.0)
    data = Data("faces", "cd" * 32, CLASSES, (10,) * 7, 0, 0)
    return Results({}, data, machine, BenchmarkConfig.preset("quick"), "2026-01-02", (row,))


def held(before: Path, now: Results, monkeypatch: pytest.MonkeyPatch, *more: str) -> Result:
    """Run the command as if it had just measured `now`."""
    measured = benchmarking.BenchmarkResult(now, Path("results.json"), Path("report.html"))
    monkeypatch.setattr(benchmarking, "_measure_here", lambda *targets, **options: measured)
    monkeypatch.setattr(bench, "print_results", lambda *_: None)
    return CliRunner().invoke(main, ["bench", "run", "--baseline", str(before), *more])


def test_the_gate_ends_with_1_and_names_the_file(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards what a script sees: 0 when nothing got worse, 1 with the file's name, and the limits as options."""
    results.write(tmp_path / "before.json")
    done = held(tmp_path / "before.json", results, monkeypatch)
    assert (done.exit_code, done.output) == (0, "gate: no file got worse, of 1\n")
    slow = latency.summarize_rounds([np.full(40, 250_000)] * 5)
    row = replace(results.rows[0], latency=(Latency(1, slow, None, None, ()),))
    slower = replace(results, rows=(row,))
    done = held(tmp_path / "before.json", slower, monkeypatch)
    assert done.exit_code == 1 and done.output.startswith("a.onnx: 0.250 ms, was 0.200: median 1.25 times what it was")
    assert (
        held(
            tmp_path / "before.json", replace(results, rows=(row,)), monkeypatch, "--max-latency-ratio", "1.3"
        ).exit_code
        == 0
    )


def test_other_results_are_refused_with_2(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the line and the code: another schema, other data, no such file, and nothing measured for them."""
    path = tmp_path / "before.json"
    path.write_text(json.dumps({**results.to_json(), "schema": 99}))
    done = held(path, results, monkeypatch)
    assert done.exit_code == 2 and "expected feredge results of schema 2, found 99" in done.output
    replace(results, data=replace(results.data, digest="ef" * 32)).write(path)
    done = held(path, results, monkeypatch)
    assert done.exit_code == 2 and "expected results on data of SHA-256 cdcd" in done.output
    done = held(tmp_path / "no.json", results, monkeypatch)
    assert done.exit_code == 2 and "cannot be read" in done.output and done.output.count("\n") == 1


def test_the_gate_compares_with_the_data_that_were_read(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a model that is judged on other data than it was trained on: what was read counts, before measuring."""

    def stop(*_: object, **__: object) -> None:
        raise ResultsError("measuring begins")

    monkeypatch.setattr("feredge.benchmark.measure_candidates", stop)
    monkeypatch.chdir(tmp_path)
    path, read = tmp_path / "before.json", load("drawn:70").digest
    call = ["bench", str(NANO), "--data", "drawn:70", "--no-baselines", "--baseline", str(path)]
    replace(results, data=replace(results.data, digest=read)).write(path)
    done = CliRunner().invoke(main, call)
    assert "measuring begins" in done.stderr
    results.write(path)
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 2
    assert f"{path}: expected results on data of SHA-256 {read[:12]}, found cdcdcdcdcdcd" in done.stderr


def test_the_command_in_a_report_names_no_folder_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards reports that travel: paths elsewhere lose their folders, and still tell the files of two runs apart."""
    (tmp_path / "here" / "runs").mkdir(parents=True)
    (tmp_path / "here" / "runs" / "a b.onnx").touch()
    monkeypatch.chdir(tmp_path / "here")
    inside, elsewhere = tmp_path / "here" / "runs" / "a b.onnx", tmp_path / "small" / "artifacts" / "x.onnx"
    given = [str(inside), str(elsewhere), f"--out={tmp_path / 'new'}", "--max-drop", "0.5", "--out", "relative/new"]
    monkeypatch.setattr("sys.argv", ["feredge", "bench", *given])
    assert measuring.command_line() == (
        "feredge bench 'runs/a b.onnx' small/artifacts/x.onnx --out=new --max-drop 0.5 --out relative/new"
    )


def test_a_wrong_place_is_told_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards hours of measuring whose results have nowhere to go."""
    (tmp_path / "file").touch()
    monkeypatch.setattr("feredge.benchmark.collect_candidates", lambda *_, **__: pytest.fail("it was measured"))
    done = CliRunner().invoke(main, ["bench", "models/nano", "--data", "drawn:70", "--out", str(tmp_path / "file")])
    assert done.exit_code == 2 and done.stderr.count("\n") == 1


def test_a_benchmark_of_nothing_leaves_no_folder(tmp_path: Path) -> None:
    """Guards a mistyped target: the new folder for the results is removed again, one of the user's own is kept."""
    (tmp_path / "own").mkdir()
    run = RunFolder.claim(tmp_path / "untrained", recipes.load("demo"), load("drawn:70"))
    for name in ("new", "own"):
        out = str(tmp_path / name)
        done = CliRunner().invoke(main, ["bench", str(run.path), "--data", "drawn:70", "--out", out])
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own", "untrained"]


def test_options_may_be_given_for_one_of_several_files() -> None:
    """Guards files of other scales, classes and outputs side by side in one benchmark."""
    values = {
        "classes": ("a.onnx:happy, low = sad + fear", "x,y"),
        "input_range": ("b.tflite:-1..1",),
        "output": (),
    }
    settings = measuring.foreign_options(values)
    assert (settings["classes"], settings["input_range"], settings["output"]) == (("x", "y"), (0.0, 1.0), "")
    assert settings["foreign"] == {
        "a.onnx": ForeignModel(("happy", "low = sad + fear")),
        "b.tflite": ForeignModel(("x", "y"), (-1.0, 1.0)),
    }


def test_a_range_that_is_none_is_one_line() -> None:
    """Guards a traceback from the text of one file's option."""
    done = CliRunner().invoke(main, ["bench", str(NANO), "--input-range", "net.onnx:0to1"])
    assert done.exit_code == 2 and "expected the values of black and white, as -1..1, found '0to1'" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sustained", "90s"], "expected whole minutes, as 10m, found '90s'"),
        (["--sustained", "10"], "expected a time of at most 168h, as 500ms, 1s, 10m or 2h, found '10'"),
        (["--sustained", "0m"], "expected a time of at most 168h"),
        (["--every", "1e9s"], "expected a time of at most 168h"),
        (["--rate", "5"], "--rate is for --sustained"),
        (["--sustained", "1m", "--rate", "0.1"], "0.1 is not in the range 1<=x<=100000"),
        (["--sustained", "1m", "--rate", "nan"], "expected a rate of 1 to 100,000 calls a second"),
    ],
)
def test_times_and_rates_that_cannot_be_measured(options: list[str], message: str) -> None:
    """Guards hours of measuring under a load that nobody meant."""
    done = CliRunner().invoke(main, ["bench", str(NANO), *options])
    assert done.exit_code == 2 and message in done.stderr


def test_load_options_reach_the_benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards the units: minutes, calls a second, seconds."""
    settings: list[benchmarking._Settings] = []

    def stop(paths: object, data: object, config: benchmarking._Settings, *_: object, **__: object) -> None:
        settings.append(config)
        raise ResultsError("measuring begins")

    monkeypatch.setattr(benchmarking, "_measure_here", stop)
    CliRunner().invoke(main, ["bench", str(NANO), "--sustained", "1h", "--rate", "30", "--every", "500ms"])
    CliRunner().invoke(main, ["bench", str(NANO)])
    assert [one.load for one in settings] == [LoadConfig(60, 30.0, 0.5), None]
