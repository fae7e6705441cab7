"""The benchmark of an unpacked bundle, on the device.

The float model's row has the accuracy of the probabilities in the bundle, and no latency. Corrupted copies of the
images are left out: accuracy on them does not depend on the machine.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark import harness, machine
from feredge.benchmark.candidates import TestSet, artifact_candidates, float_candidate
from feredge.benchmark.config import BenchmarkConfig
from feredge.benchmark.formatting import percent
from feredge.benchmark.load_metrics import LoadConfig
from feredge.benchmark.measurement import Measurement
from feredge.benchmark.results import Results
from feredge.benchmark.stages import run_stages
from feredge.benchmark.summary import summarize
from feredge.console import echo, echo_lines, escape_control, progress_line
from feredge.data.dataset import Dataset, Splits
from feredge.errors import DataError
from feredge.inference.contract import InputContract
from feredge.progress import Progress, quiet

PAYLOAD_FOLDER = "payload"
SETTINGS_FILE = "settings.json"
DATA_FILE = "data.npz"
BUNDLE_SCHEMA = 1
PROGRESS_SECONDS = 0.2  # between two lines about one task


def main(folder: str, out: Path, progress_file: str | None) -> None:
    """Measure the bundle unpacked in `folder`; write `out` last, and its raw data next to it as `.npz`."""
    if progress_file is None:
        results, raw_data = measure_bundle(Path(folder) / PAYLOAD_FOLDER, progress=progress_line)
    else:
        with Path(progress_file).open("a", encoding="utf-8") as file:
            results, raw_data = measure_bundle(Path(folder) / PAYLOAD_FOLDER, progress=_ProgressWriter(file))
    harness.write_results(results, raw_data, out)
    if progress_file is None:
        echo_lines(_summary(results))
        echo(f"results: {out}")


def measure_bundle(
    payload: Path, *, effort: BenchmarkConfig | None = None, progress: Progress = quiet
) -> tuple[Results, dict[str, NDArray[np.generic]]]:
    """Measure a bundle's files; return results and raw data as `measure_candidates`. `effort` replaces the bundle's.

    Raises:
        ArtifactError: files that do not fit their manifest.
        DataError: a bundle of another schema.
    """
    settings = json.loads((payload / SETTINGS_FILE).read_text(encoding="utf-8"))
    if settings["schema"] != BUNDLE_SCHEMA:
        raise DataError(f"a bundle: expected schema {BUNDLE_SCHEMA}, found {settings['schema']}")
    with np.load(payload / DATA_FILE) as arrays:
        data = {name: arrays[name] for name in arrays.files}
    classes = tuple(settings["classes"])
    load = settings["effort"].pop("load")
    preset = BenchmarkConfig.preset(**settings["effort"], load=LoadConfig(**load) if load else None)
    config = effort or replace(preset, corrupted=0)
    candidates = tuple(artifact_candidates(payload / "artifacts"))
    test_set = TestSet(candidates, _splits(settings, data, classes), data["unique"])
    description = replace(machine.describe(), peaks=harness.measure_peaks())
    measurements = [harness.start_measurement(candidate) for candidate in candidates]
    config = run_stages([test_set], [measurements], config, progress=progress)
    measurements = [_float(settings, data, classes), *measurements]
    return summarize([test_set], [measurements], config, description, recipe=settings["recipe"])


def _float(settings: dict[str, Any], data: dict[str, NDArray[Any]], classes: tuple[str, ...]) -> Measurement:
    """Return the float model as it was measured where the bundle was made."""
    contract = InputContract(*data["images"].shape[1:])
    path = Path("float.keras")  # not in the bundle
    return Measurement(
        float_candidate(path, contract, classes),
        sha256=settings["float"]["sha256"],
        size_bytes=settings["float"]["bytes"],
        probabilities=data["reference"],
    )


def _splits(settings: dict[str, Any], data: dict[str, NDArray[Any]], classes: tuple[str, ...]) -> Splits:
    images, labels = data["images"], data["labels"]
    test = Dataset(
        images=images,
        labels=labels,
        usage=np.full(len(images), "test"),
        rows=data["rows"],
        classes=classes,
        digest=settings["digest"],
        source=settings["source"],
    )
    empty = test.take(np.empty(0, np.int64))
    return Splits(empty, empty, test, settings["dropped"])


class _ProgressWriter:
    """Writes progress to a file, a JSON list in each line, which the agent follows."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._last = ("", 0.0)

    def __call__(self, task: str, done: float, total: float, note: str = "") -> None:
        now = time.monotonic()
        if task == self._last[0] and done < total and now - self._last[1] < PROGRESS_SECONDS:
            return
        self._last = (task, now)
        self._file.write(json.dumps([task, done, total, note]) + "\n")
        self._file.flush()


def _summary(results: Results) -> str:
    """Return a plain line for each row: a device may lack packages for tables."""
    lines = [f"{'file':<32} accuracy %   drop pp   median ms"]
    for row in results.rows:
        accuracy = percent(row.accuracy)
        drop = f"{row.drop.pp:+.2f}" if row.drop else ""
        median = f"{row.main_latency.median:.3f}" if row.main_latency else ""
        line = f"{escape_control(row.name):<32} {accuracy:>10} {drop:>9} {median:>11}  {row.failure or ''}"
        lines.append(escape_control(line.rstrip()))
    return "\n".join(lines)
