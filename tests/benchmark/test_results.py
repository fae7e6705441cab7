"""Results in JSON: round trips, and the refusal of anything else."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_workshop import SMALL_CONFIG

from feredge.benchmark import latency, machine
from feredge.benchmark.accuracy import accuracy, accuracy_drop
from feredge.benchmark.metrics import Latency
from feredge.benchmark.results import Data, Results, Row
from feredge.errors import ResultsError


def some_results() -> Results:
    """Results with a complete row and a failed one."""
    labels = np.arange(40) % 4
    probabilities = np.eye(4, dtype=np.float32)[labels]
    timing = latency.summarize_rounds([np.full(400, 1_000_000), np.full(400, 1_020_000)])
    good = Row(
        "float", "float", "keras", "dense", "float32", "0" * 64, 1000,
        accuracy=accuracy(probabilities, labels),
        drop=accuracy_drop(probabilities, probabilities, labels, margin=1.0, seed=1),
        latency=(Latency(1, timing, timing, timing, ()),),
    )  # fmt: skip
    bad = Row("a.onnx", "artifact", "onnx", "dense", "int8", "1" * 64, 300, failure="crashed")
    data = Data("faces.csv", "2" * 64, ("a", "b", "c", "d"), (10, 10, 10, 10), 2, 3)
    return Results({"name": "toy"}, data, machine.describe(), SMALL_CONFIG, "2026-01-01T00:00:00+00:00", (good, bad))


def nested(count: int) -> list[Any]:
    """Return nested lists."""
    return [nested(count - 1)] if count else []


def timing(value: dict[str, Any]) -> dict[str, Any]:
    """Return the complete row's timing in the value of `to_json`."""
    inference: dict[str, Any] = value["rows"][0]["latency"][0]["inference"]
    return inference


def test_json_and_back(tmp_path: Path) -> None:
    """Guards every field: a result read again is the result that was written."""
    results = some_results()
    path = tmp_path / "results.json"
    results.write(path)
    assert Results.read(path) == results
    assert json.loads(path.read_text())["schema"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(schema=3), "expected feredge results of schema 2, found 3"),
        (lambda v: v.pop("schema"), "expected feredge results of schema 2, found none"),
        (lambda v: v.pop("rows"), "json: expected rows, found none"),
        (lambda v: v["rows"][0].update(best=True), "rows: unknown key 'best'; "),
        (lambda v: v["rows"][0].update(bytes="1000"), "bytes: expected int, found '1000'"),
        (lambda v: v["rows"][0].update(kind="other"), "kind: expected one of float, artifact, baseline, found 'other'"),
        (
            lambda v: v["rows"][0]["accuracy"].update(accuracy=float("inf")),
            "accuracy: expected a finite number, found inf",
        ),
        (lambda v: v["machine"].update(load=10**400), "load: expected a number of 64 bits, found one of 1329"),
        (lambda v: v["config"].update(margin=0), "expected a margin above 0 pp, found 0"),
        (lambda v: v["data"].update(images=[1]), "a number of images for each class, found 1 for "),
        (lambda v: timing(v).update(rounds=[]), "expected rounds of more than 0 ms, found 0 rounds"),
        (lambda v: timing(v).update(median=0), "expected rounds of more than 0 ms, found 2 rounds and 0 ms"),
        (lambda v: v["rows"][0].update(sha256="<script>alert(1)</script>"), "a sha256 of 64 hexadecimal digits, found"),
        (lambda v: v["rows"][0].update(precision="x);url(//e"), "expected letters, digits and .+- in a name, found"),
        (lambda v: v["data"].update(digest="0" * 63), "digest: expected 64 hexadecimal digits, found"),
        (lambda v: v["machine"].update(cpu="\ud800"), "cpu: expected text, found a lone surrogate in '\\ud800'"),
        (lambda v: v["machine"].update(cpu="x" * 70_000), "cpu: expected at most 65,536 characters, found 70,000"),
        (lambda v: v["recipe"].update({"\udfff": 1}), "recipe: expected text, found a lone surrogate"),
        (lambda v: v["recipe"].update(name=float("nan")), "name: expected a finite number, found nan"),
        (lambda v: v["recipe"].update(deep=nested(40)), "expected at most 16 tables or lists in each other"),
        (lambda v: v["rows"][0]["accuracy"].update(accuracy=1.5), "expected an accuracy from 0 to 1, found"),
        (lambda v: v["rows"][0]["drop"].update(flips=[[1]]), "rows and columns of flips as classes, found [1]"),
        (lambda v: v["rows"][0]["drop"].update(flipped=[[1, 0, 9, 0]]), "expected a flip of classes, found"),
        (lambda v: v["data"].update(images=[1, True]), "images: expected int, found True"),
    ],
)
def test_anything_else_is_refused_in_one_line(tmp_path: Path, change: Any, message: str) -> None:
    """Guards reports against files of another schema, or edited by hand."""
    value = some_results().to_json()
    change(value)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(value))
    with pytest.raises(ResultsError) as caught:
        Results.read(path)
    assert message in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    """Guards the two commonest mistakes: the wrong path, and another kind of file."""
    with pytest.raises(ResultsError, match="cannot be read"):
        Results.read(tmp_path / "no.json")
    (tmp_path / "half.json").write_text('{"schema": 1, "rows": [')
    (tmp_path / "deep.json").write_text("[" * 100_000)
    for name in ("half.json", "deep.json"):
        with pytest.raises(ResultsError, match="expected results in JSON"):
            Results.read(tmp_path / name)


def test_results_are_frozen_and_finite(tmp_path: Path) -> None:
    """Guards figures against change after the measurement, and JSON against NaN, which other readers refuse."""
    results = some_results()
    with pytest.raises(dataclasses.FrozenInstanceError):
        results.rows[0].bytes = 1  # type: ignore[misc]  # frozen
    with pytest.raises(ValueError, match="not JSON compliant"):
        dataclasses.replace(results, recipe={"rate": float("nan")}).write(tmp_path / "results.json")
    assert not (tmp_path / "results.json").exists()


def test_the_machine_is_described() -> None:
    """Guards the key of every figure: a CPU, its cores, the versions of the runtimes that are installed."""
    description = machine.describe()
    assert description.cpu and description.cores >= 1 and description.versions["numpy"] == np.__version__
    assert "onnxruntime" in description.versions and description.governor


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux reports the current load")
def test_the_load_is_that_of_now() -> None:
    """Guards the warning about other load: it is of what runs now, not of an export that has just ended."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            load = machine.describe().load
        finally:
            busy.kill()
    assert load is not None and 0.5 < load <= (os.cpu_count() or 1)
