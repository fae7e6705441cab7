"""`bench`: a run's files, its float model and two baselines, measured and written down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge import files
from feredge.artifact import Manifest
from feredge.bench import accuracy, latency, machine
from feredge.bench.measure import Subject, Trial, measure
from feredge.bench.results import Data, Effort, Results, Row
from feredge.contract import InputContract
from feredge.data.dataset import Dataset, Splits
from feredge.errors import DataError, ResultsError, RunError
from feredge.progress import Progress, quiet
from feredge.run import RunFolder

FLOAT_RUNNER = "feredge.train.runner:KerasRunner"
BASELINES = ("pca-svc", "random-forest")
QUANTILES = 1001


def bench(
    run: RunFolder,
    dataset: Dataset,
    *,
    quick: bool = False,
    baselines: bool = True,
    effort: Effort | None = None,
    progress: Progress = quiet,
) -> Results:
    """Measure everything in `run` on the test split of `dataset`; write `results.json` last, and return it.

    A file that crashes, hangs or gives nonsense is a row with its `failure`, and the others go on.

    Args:
        quick: fewer timed runs; the result says so.
        baselines: also fit (once) and measure PCA + SVC and a random forest.
        effort: how hard to measure, instead of `quick` or the default.

    Raises:
        RunError: `dataset` is not what the run was trained on.
        ArtifactError: no manifest, or files that do not fit it.
        DataError: no labelled test images.
    """
    from feredge.data import split

    if dataset.digest != run.data()["digest"]:
        raise RunError(f"{run.path}: expected the data it was trained on, found others ({dataset.source})")
    subjects = run_subjects(run, dataset)
    splits = split(dataset, run.recipe().data)
    if not len(splits.test):
        raise DataError(f"{dataset.source}: expected labelled test images, found none")
    if baselines:
        subjects += _baseline_subjects(run, splits, progress)
    results, evidence = compare(
        subjects,
        splits,
        effort or latency.effort("quick" if quick else "default"),
        recipe=run.recipe().to_json(),
        progress=progress,
    )
    with files.replacing(run.results.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **evidence)  # type: ignore[arg-type]  # its stub takes every keyword for allow_pickle
    results.write(run.results)
    return results


def standing(run: RunFolder, dataset: Dataset, *, quick: bool = False) -> Results | None:
    """Return the run's results if they stand, on this data and these files, measured at least as hard; else None."""
    try:
        results = Results.read(run.results)
    except ResultsError:
        return None
    measured = {row.name: row.sha256 for row in results.rows if row.kind != "baseline"}
    wanted = {subject.name: files.sha256(subject.path) for subject in run_subjects(run, dataset)}
    fits = measured == wanted and results.data.digest == dataset.digest
    return results if fits and (quick or results.effort.name != "quick") else None


def run_subjects(run: RunFolder, dataset: Dataset) -> list[Subject]:
    """Return what a run holds: its float model, then every file in its manifest."""
    size = run.recipe().data.size
    subjects = [
        Subject(
            name="float",
            kind="float",
            format="keras",
            variant="dense",
            precision="float32",
            path=run.model,
            opener=FLOAT_RUNNER,
            contract=InputContract(size, size, 1),
            classes=dataset.classes,
        )
    ]
    for entry in Manifest.read(run.artifacts).entries:
        subjects.append(
            Subject(
                name=entry.file,
                kind="artifact",
                format=entry.format,
                variant=entry.card.variant,
                precision=entry.card.precision,
                path=run.artifacts / entry.file,
                opener="feredge.runtime:open_artifact",
                contract=entry.card.contract,
                classes=entry.card.classes,
            )
        )
    return subjects


def compare(
    subjects: Sequence[Subject],
    splits: Splits,
    effort: Effort,
    *,
    recipe: dict[str, object],
    progress: Progress = quiet,
) -> tuple[Results, dict[str, NDArray[np.generic]]]:
    """Measure any subjects on `splits.test`. Return the results, and the evidence behind them.

    The evidence holds `labels`; each row's probabilities, `ROW/probabilities`, `float32 (N, classes)`; and
    `ROW/THREADS/ROUND`, QUANTILES quantiles of that round's inference times in nanoseconds.
    """
    test = splits.test
    here = machine.describe()
    trials = measure(subjects, test.batch, test.classes, effort, progress=progress)
    reference = next((trial.probabilities for trial in trials if trial.subject.kind == "float"), None)
    results = Results(
        recipe=dict(recipe),
        data=Data(
            source=Path(test.source).name,
            digest=test.digest,
            classes=test.classes,
            images=tuple(map(int, np.bincount(test.labels, minlength=len(test.classes)))),
            dropped=splits.dropped,
        ),
        machine=here,
        effort=effort,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=tuple(_row(trial, reference, test.labels, effort) for trial in trials),
    )
    return results, _evidence(trials, test.labels)


def _row(trial: Trial, reference: NDArray[np.float32] | None, labels: NDArray[np.int8], effort: Effort) -> Row:
    subject, probabilities = trial.subject, trial.probabilities
    found = fallen = None
    if probabilities is not None:
        found = accuracy.accuracy(probabilities, labels)
        if reference is not None and subject.kind != "float":
            fallen = accuracy.drop(reference, probabilities, labels, margin=effort.margin, seed=effort.seed)
    return Row(
        name=subject.name,
        kind=subject.kind,
        format=subject.format,
        variant=subject.variant,
        precision=subject.precision,
        sha256=files.sha256(subject.path),
        bytes=subject.path.stat().st_size,
        failure=trial.failure,
        accuracy=found,
        drop=fallen,
        cold=trial.cold,
        memory=trial.memory,
        latency=tuple(timed for threads in effort.threads if (timed := trial.latency(effort, threads))),
    )


def _evidence(trials: Sequence[Trial], labels: NDArray[np.int8]) -> dict[str, NDArray[np.generic]]:
    evidence: dict[str, NDArray[np.generic]] = {"labels": labels}
    points = np.linspace(0, 1, QUANTILES)
    for trial in trials:
        name = trial.subject.name
        if trial.probabilities is not None:
            evidence[f"{name}/probabilities"] = trial.probabilities
        for (threads, what), rounds in trial.samples.items():
            if what == "inference":
                for index, samples in enumerate(rounds):
                    evidence[f"{name}/{threads}/{index}"] = np.quantile(samples, points).astype(np.float32)
    return evidence


def _baseline_subjects(run: RunFolder, splits: Splits, progress: Progress) -> list[Subject]:
    from feredge import baselines

    size = run.recipe().data.size
    return [
        Subject(
            name=fitted.id,
            kind="baseline",
            format=fitted.path.suffix[1:],
            variant="classical",
            precision="float32",
            path=fitted.path,
            opener="feredge.baselines:open_baseline",
            contract=InputContract(size, size, 1),
            classes=splits.train.classes,
        )
        for fitted in baselines.fit(BASELINES, splits, cache=run.path / "baselines", progress=progress)
    ]
