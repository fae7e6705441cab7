"""The harness: groups of files measured together, and what was found written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge import files
from feredge.benchmark import machine
from feredge.benchmark.candidates import Group, Subject, run_subjects
from feredge.benchmark.measure import Panel, measure_panels
from feredge.benchmark.results import Effort, Results
from feredge.benchmark.summary import Judged, sum_up
from feredge.benchmark.trial import PATIENCE, Trial
from feredge.benchmark.workers.client import Worker, WorkerFailure
from feredge.data.dataset import Dataset
from feredge.errors import ArtifactError, ResultsError
from feredge.inspection.external_data import digest_and_size
from feredge.progress import Progress, quiet
from feredge.run import RunFolder


def compare(
    groups: Sequence[Group],
    effort: Effort,
    *,
    recipe: dict[str, object],
    notes: Sequence[str] = (),
    again: str = "",
    patience: float = PATIENCE,
    progress: Progress = quiet,
) -> tuple[Results, dict[str, NDArray[np.generic]]]:
    """Measure every subject of every group, whose names must differ; the results' data are the first group's.

    A file that crashes, hangs or gives nonsense is a row with its `failure`, and the others go on. A group without a
    float model is measured against its first file in float32.

    Args:
        patience: seconds that a file may take to open, and beyond the work asked of it, before it counts as hanging.

    Returns:
        The results, and the evidence behind them: `labels`; each row's `ROW/probabilities`, `float32 (N, classes)`;
        `ROW/labels` of rows that are judged on other images; and `ROW/THREADS/ROUND`, quantiles of that round's
        inference times in nanoseconds, as many as summary.QUANTILES.
    """
    here = replace(machine.describe(), peaks=peaks())
    keys = [[key(one) for one in group.subjects] for group in groups]
    panels = [
        Panel(
            [Trial(subject, patience, failure=subject.failure or None) for subject in group.subjects],
            group.splits.test.batch,
            group.splits.test.classes,
        )
        for group in groups
    ]
    effort = measure_panels(panels, effort, progress=progress)
    judged = [Judged(group, panel.trials, known) for group, panel, known in zip(groups, panels, keys, strict=True)]
    return sum_up(judged, effort, here, recipe=recipe, notes=notes, again=again)


def key(subject: Subject) -> tuple[str, int]:
    """Return a file's SHA-256 and bytes, with the files that hold its weights where it can be opened at all.

    Of a file that was never written they are empty and 0.
    """
    if subject.failure and not subject.path.is_file():
        return "", 0
    try:
        return digest_and_size(subject.path)
    except ArtifactError:  # its trial says why
        return files.sha256(subject.path), subject.path.stat().st_size


def peaks() -> dict[str, float]:
    """Return this machine's `Machine.peaks`, measured in a process of its own; empty where it cannot be."""
    with Worker(threads=1) as worker:
        try:
            answer, _ = worker.ask("peak", timeout=60.0)
        except WorkerFailure:
            return {}
    return dict(answer["peaks"])


def write(results: Results, evidence: dict[str, NDArray[np.generic]], path: Path) -> None:
    """Write results, and before them their evidence beside them, as `.npz`."""
    with files.replacing(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **evidence)  # type: ignore[arg-type]  # its stub takes every keyword for allow_pickle
    results.write(path)


def standing(run: RunFolder, dataset: Dataset, *, quick: bool = False) -> Results | None:
    """Return the run's results if they stand, on this data and these files, measured at least as hard; else None."""
    try:
        results = Results.read(run.results)
    except ResultsError:
        return None
    measured = {row.name: row.sha256 for row in results.rows if row.kind != "baseline" and not row.runtime}
    wanted = {subject.name: key(subject)[0] for subject in run_subjects(run)}
    fits = measured == wanted and results.data.digest == dataset.digest
    return results if fits and (quick or results.effort.name != "quick") else None
