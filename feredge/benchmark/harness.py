"""The benchmark harness: measure the candidates of all test sets, write results, and check whether they are current."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from feredge import files
from feredge.benchmark import machine
from feredge.benchmark.candidates import Candidate, TestSet, run_candidates
from feredge.benchmark.class_order import class_order_notes
from feredge.benchmark.config import TIMEOUT_SECONDS, BenchmarkConfig
from feredge.benchmark.measurement import Measurement
from feredge.benchmark.results import Results
from feredge.benchmark.stages import run_stages
from feredge.benchmark.summary import RawData, summarize
from feredge.benchmark.workers.client import Worker, WorkerFailure
from feredge.data.dataset import Dataset
from feredge.errors import ArtifactError, ResultsError
from feredge.inspection.external_data import digest_and_size
from feredge.progress import Progress, quiet
from feredge.run import RunFolder


def measure_candidates(
    test_sets: Sequence[TestSet],
    config: BenchmarkConfig,
    *,
    recipe: dict[str, object],
    notes: Sequence[str] = (),
    command: str = "",
    timeout_seconds: float = TIMEOUT_SECONDS,
    journal: Path | None = None,
    progress: Progress = quiet,
) -> tuple[Results, RawData]:
    """Measure every candidate of every test set; their names must differ. The results' data are the first test set's.

    A file that crashes, hangs or returns invalid outputs is a row with its `failure`, and the others go on. Without a
    float model, a test set's candidates are measured against a file in float32, the dense one if it is there.

    Args:
        recipe, notes, command: for the results, as Results documents them.
        timeout_seconds: without a response for so long, beyond the work that was requested, a file counts as hanging.
        journal: file in which what was measured under load is recorded, and from which an interrupted benchmark
            continues; the caller removes it when it has written the results.

    Returns:
        The results, and the raw data behind them: `labels`; each row's `ROW/probabilities`, `float32 (N, classes)`;
        `ROW/labels` of rows evaluated on other images; and `ROW/THREADS/ROUND`, quantiles of that round's inference
        times in nanoseconds, as many as summary.LATENCY_QUANTILES.
    """
    description = replace(machine.describe(), peaks=measure_peaks())
    measurements = [
        [start_measurement(candidate, timeout_seconds) for candidate in test_set.candidates] for test_set in test_sets
    ]
    config = run_stages(test_sets, measurements, config, journal=journal, progress=progress)
    notes = (*notes, *class_order_notes(test_sets, measurements))
    return summarize(test_sets, measurements, config, description, recipe=recipe, notes=notes, command=command)


def start_measurement(candidate: Candidate, timeout_seconds: float = TIMEOUT_SECONDS) -> Measurement:
    """Return the measurement of a candidate before its first stage, with the file's digest and size."""
    sha256, size_bytes = file_digest(candidate)
    return Measurement(candidate, timeout_seconds, sha256, size_bytes, failure=candidate.failure or None)


def file_digest(candidate: Candidate) -> tuple[str, int]:
    """Return a file's SHA-256 and bytes, including its external weights where they can be read.

    For a file that was never written they are empty and 0.
    """
    if candidate.failure and not candidate.path.is_file():
        return "", 0
    try:
        return digest_and_size(candidate.path)
    except ArtifactError:  # its measurement will report why
        return files.sha256(candidate.path), candidate.path.stat().st_size


def measure_peaks() -> dict[str, float]:
    """Return this machine's `Machine.peaks`, measured in a worker; empty where that fails."""
    with Worker(threads=1) as worker:
        try:
            response, _ = worker.request("peak", timeout_seconds=60.0)
        except WorkerFailure:
            return {}
    return dict(response["peaks"])


def write_results(results: Results, raw_data: RawData, path: Path) -> None:
    """Write results to `path`, and before them their raw data, with the suffix `.npz`."""
    with files.replacing(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **raw_data)  # type: ignore[arg-type]  # its stub takes every keyword for allow_pickle
    results.write(path)


def current_results(run: RunFolder, dataset: Dataset, *, quick: bool = False) -> Results | None:
    """Return the run's results if they are of this data and the run's current files; else None.

    Results of the `quick` preset count only with `quick`.
    """
    try:
        results = Results.read(run.results)
    except ResultsError:
        return None
    measured = {row.name: row.sha256 for row in results.rows if row.kind != "baseline" and not row.runtime}
    current = {candidate.name: file_digest(candidate)[0] for candidate in run_candidates(run)}
    matches = measured == current and results.data.digest == dataset.digest
    return results if matches and (quick or results.config.name != "quick") else None
