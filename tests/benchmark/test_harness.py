"""Benchmarks of a run folder: rows, results files, and when results are current."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from toy_workshop import Workshop, make_run

from feredge.benchmark import (
    TargetOptions,
    candidates,
    collect_candidates,
    current_results,
    measure_candidates,
    write_results,
)
from feredge.benchmark.config import BenchmarkConfig
from feredge.benchmark.results import Results
from feredge.data.dataset import Dataset
from feredge.data.drawn import drawn
from feredge.errors import ArtifactError, RunError
from feredge.inference.artifact import Failure, Manifest
from feredge.progress import Progress, quiet
from feredge.report import to_terminal
from feredge.report.budget import Budget, select
from feredge.run import RunFolder

DATA_SOURCE = "drawn:1400"
"""The faces that the workshop's model was fitted on."""


@pytest.fixture(scope="module")
def faces() -> Dataset:
    """Return DATA_SOURCE."""
    return drawn(1400)


def bench(
    run: RunFolder,
    config: BenchmarkConfig,
    *,
    data: str = DATA_SOURCE,
    baselines: bool = False,
    progress: Progress = quiet,
) -> Results:
    """Measure a run as `feredge bench RUN` does."""
    plan = collect_candidates([run.path], data, TargetOptions(baselines=baselines), progress=progress)
    assert plan.is_run
    results, raw_data = measure_candidates(plan.test_sets, config, recipe=plan.recipe, progress=progress)
    write_results(results, raw_data, run.results)
    return results


@pytest.fixture
def run(workshop: Workshop, faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run folder with a linear float model and two exported files."""
    monkeypatch.setattr(candidates, "FLOAT_RUNNER", "toy_runners:Linear")
    return make_run(workshop.folder, tmp_path / "run", faces)


def test_bench_measures_a_run(run: RunFolder, faces: Dataset, small_config: BenchmarkConfig) -> None:
    """Guards the whole: a row a file, the test split, files named by digest, results that can be read."""
    tasks: list[str] = []
    results = bench(run, small_config, progress=lambda task, *_: tasks.append(task))
    assert [row.name for row in results.rows] == ["float", "dense.float32.onnx", "rough.int8.onnx"]
    assert [row.kind for row in results.rows] == ["float", "artifact", "artifact"]
    assert results.data.total == int((faces.usage == "PrivateTest").sum())
    assert results.recipe["name"] == "nano" and results.data.digest == faces.digest
    manifest = Manifest.read(run.artifacts)
    assert [row.sha256 for row in results.rows[1:]] == [entry.sha256 for entry in manifest.entries]
    assert Results.read(run.results) == results
    assert list(dict.fromkeys(tasks)) == ["cold start", "accuracy", "latency, 1 thread"]
    with np.load(run.path / "results.npz") as raw_data:
        assert set(raw_data) >= {"labels", "float/probabilities", "rough.int8.onnx/1/2"}


def test_a_file_that_failed_its_export_is_a_row(run: RunFolder, faces: Dataset, small_config: BenchmarkConfig) -> None:
    """Guards the tables of an export with a failure: the file's reason, no figures, and it is never selected."""
    failure = Failure("dense.int8.tflite", "expected an answer, found none")
    dataclasses.replace(Manifest.read(run.artifacts), failures=(failure,)).write(run.artifacts)
    results = bench(run, small_config)
    row = results.rows[-1]
    assert (row.name, row.precision, row.format) == ("dense.int8.tflite", "int8", "tflite")
    assert row.failure == "its export failed: expected an answer, found none"
    assert (row.sha256, row.bytes, row.accuracy, row.latency) == ("", 0, None, ())
    assert Results.read(run.results) == results == current_results(run, faces, quick=True)
    assert "its export failed" in to_terminal(results, width=200)
    selection = select(results, Budget())
    assert selection.selected is not None and selection.selected.failure is None
    assert (row, f"could not be measured ({row.failure})") in selection.rejected


def test_results_are_current_until_something_changes(
    run: RunFolder, faces: Dataset, small_config: BenchmarkConfig
) -> None:
    """Guards `feredge run` against measuring again for nothing, and against keeping figures of other files."""
    assert current_results(run, faces, quick=True) is None
    results = bench(run, small_config)
    assert current_results(run, faces, quick=True) == results
    assert current_results(run, faces) is None, "quick results do not replace complete ones"
    dataclasses.replace(results, config=dataclasses.replace(small_config, name="default")).write(run.results)
    assert current_results(run, faces) is not None
    path = run.artifacts / "rough.int8.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ArtifactError, match="expected SHA-256"):
        current_results(run, faces)


def test_other_data_is_refused_before_anything_is_measured(run: RunFolder, small_config: BenchmarkConfig) -> None:
    """Guards the key of every figure: the data's digest."""
    with pytest.raises(RunError, match="expected the data it was trained on"):
        bench(run, small_config, data="drawn:700")
    assert not run.results.exists()


def test_excluded_rows_are_excluded_from_baselines(run: RunFolder, faces: Dataset) -> None:
    """Guards the baselines of a run with `--leave-out`: they must not be fitted to images that it excluded."""
    (before,) = collect_candidates([run.path], DATA_SOURCE, TargetOptions(baselines=False)).test_sets
    row = int(before.splits.train.rows[5])
    run.data_file.write_text(json.dumps(run.data() | {"held_back": [row]}))
    (after,) = collect_candidates([run.path], DATA_SOURCE, TargetOptions(baselines=False)).test_sets
    assert set(before.splits.train.rows) - set(after.splits.train.rows) == {row}
    assert after.splits.test.rows.tolist() == before.splits.test.rows.tolist()


def test_an_interrupt_keeps_the_earlier_results(
    run: RunFolder, faces: Dataset, small_config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against partial results: Ctrl-C in the middle keeps the earlier file."""
    run.results.write_text(json.dumps({"schema": 0}))

    def stop(task: str, done: float, total: float, note: str = "") -> None:
        if task == "accuracy":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench(run, small_config, progress=stop)
    assert json.loads(run.results.read_text()) == {"schema": 0}
    assert not (run.path / "results.npz").exists()


def test_baselines_are_rows_beside_the_files(
    run: RunFolder, faces: Dataset, small_config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards baselines in the benchmark: one fitted to the run's training images, opened and measured in a worker."""
    baselines = pytest.importorskip("feredge.baselines")
    pytest.importorskip("skl2onnx")
    monkeypatch.setattr(baselines, "DEFAULT_BASELINES", ("study-2022-nb",))  # fitted in a moment
    results = bench(run, small_config, baselines=True)
    row = results.rows[-1]
    assert row.kind == "baseline" and row.failure is None
    assert row.drop is not None and row.main_latency is not None
    assert current_results(run, faces, quick=True) is not None, "baselines do not make results outdated"
