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

from feredge.benchmark import harness, latency, machine
from feredge.benchmark.candidates import Group, artifact_subjects, float_subject
from feredge.benchmark.formatting import percent
from feredge.benchmark.measure import measure
from feredge.benchmark.results import Effort, Results
from feredge.benchmark.summary import Judged, sum_up
from feredge.benchmark.trial import Trial
from feredge.console import echo, echo_lines, progress_line, visible
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
    """Measure the bundle unpacked in `folder`; write `out` last, and its evidence beside it as `.npz`."""
    if progress_file is None:
        results, evidence = measure_bundle(Path(folder) / PAYLOAD_FOLDER, progress=progress_line)
    else:
        with Path(progress_file).open("a", encoding="utf-8") as file:
            results, evidence = measure_bundle(Path(folder) / PAYLOAD_FOLDER, progress=_ProgressWriter(file))
    harness.write(results, evidence, out)
    if progress_file is None:
        echo_lines(_summary(results))
        echo(f"results: {out}")


def measure_bundle(
    payload: Path, *, effort: Effort | None = None, progress: Progress = quiet
) -> tuple[Results, dict[str, NDArray[np.generic]]]:
    """Return what `feredge.benchmark.compare` returns, for the files in a bundle. `effort` replaces the bundle's.

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
    effort = effort or replace(latency.effort(**settings["effort"]), corrupted=0)
    subjects = artifact_subjects(payload / "artifacts")
    device = replace(machine.describe(), peaks=harness.peaks())
    trials = measure(subjects, data["images"], classes, effort, progress=progress)
    reference = _float_trial(settings, data, classes)
    keys = [harness.key(subject) for subject in subjects]
    group = Group((reference.subject, *subjects), _splits(settings, data, classes), data["unique"])
    measured = Judged(group, [reference, *trials], [(settings["float"]["sha256"], settings["float"]["bytes"]), *keys])
    return sum_up([measured], effort, device, recipe=settings["recipe"])


def _float_trial(settings: dict[str, Any], data: dict[str, NDArray[Any]], classes: tuple[str, ...]) -> Trial:
    """Return the float model with the probabilities in the bundle."""
    contract = InputContract(*data["images"].shape[1:])
    path = Path("float.keras")  # not in the bundle
    return Trial(float_subject(path, contract, classes), probabilities=data["reference"])


def _splits(settings: dict[str, Any], data: dict[str, NDArray[Any]], classes: tuple[str, ...]) -> Splits:
    images, labels = data["images"][..., 0], data["labels"]
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
        median = f"{row.headline.median:.3f}" if row.headline else ""
        line = f"{visible(row.name):<32} {accuracy:>10} {drop:>9} {median:>11}  {row.failure or ''}"
        lines.append(visible(line.rstrip()))
    return "\n".join(lines)
