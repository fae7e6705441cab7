"""`bench`: a run's files, its float model and two baselines, measured and written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge import files
from feredge.artifact import Manifest
from feredge.bench import accuracy, corruptions, latency, machine
from feredge.bench.measure import Panel, measure_panels
from feredge.bench.process import Worker, WorkerFailure
from feredge.bench.results import Data, Effort, Machine, Macs, Results, Row
from feredge.bench.trial import Copy, Subject, Trial
from feredge.contract import InputContract
from feredge.data.dataset import Dataset, Splits
from feredge.errors import DataError, ResultsError
from feredge.progress import Progress, quiet
from feredge.run import RunFolder

FLOAT_RUNNER = "feredge.train.runner:KerasRunner"
QUANTILES = 1001


def bench(
    run: RunFolder,
    dataset: Dataset,
    *,
    quick: bool = False,
    baselines: bool = True,
    effort: Effort | None = None,
    also: Sequence[str] = (),
    progress: Progress = quiet,
) -> Results:
    """Measure everything in `run` on the test split of `dataset`; write `results.json` last, and return it.

    A file that crashes, hangs or gives nonsense is a row with its `failure`, and the others go on.

    Args:
        quick: fewer timed runs; the result says so.
        baselines: also fit (once) and measure PCA + SVC and a random forest.
        effort: how hard to measure, instead of `quick` or the default.
        also: runtimes beside the files' own, of runners.ALSO.

    Raises:
        RunError: `dataset` is not what the run was trained on.
        ArtifactError: no manifest, or files that do not fit it.
        DataError: no labelled test images.
    """
    from feredge.bench.targets import beside
    from feredge.data import split

    run.check_data(dataset)
    subjects = run_subjects(run, dataset)
    splits = split(dataset, run.recipe().data)
    if not len(splits.test):
        raise DataError(f"{dataset.source}: expected labelled test images, found none")
    if baselines:
        subjects += baseline_subjects(run, splits, progress)
    notes: list[str] = []
    subjects += list(beside(subjects, also, notes))
    results, evidence = compare_groups(
        [Group(tuple(subjects), splits, unique_images(dataset, splits))],
        effort or latency.effort("quick" if quick else "default"),
        recipe=run.recipe().to_json(),
        notes=notes,
        progress=progress,
    )
    write(results, evidence, run.results)
    return results


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
    wanted = {subject.name: files.sha256(subject.path) for subject in run_subjects(run, dataset)}
    fits = measured == wanted and results.data.digest == dataset.digest
    return results if fits and (quick or results.effort.name != "quick") else None


def run_subjects(run: RunFolder, dataset: Dataset) -> list[Subject]:
    """Return what a run holds: its float model, then every file in its manifest."""
    size = run.recipe().data.size
    return [
        Subject(
            name="float",
            kind="float",
            format="keras",
            variant="dense",
            precision="float32",
            path=run.model,
            opener=FLOAT_RUNNER,
            contract=InputContract(size, size, 1),
            classes=tuple(run.data()["classes"]),  # a recipe may have chosen among the data set's
        ),
        *artifact_subjects(run.artifacts),
    ]


def artifact_subjects(folder: Path) -> list[Subject]:
    """Return every file in a folder's manifest, after holding it against its digest there."""
    return [
        Subject(
            name=entry.file,
            kind="artifact",
            format=entry.format,
            variant=entry.card.variant,
            precision=entry.card.precision,
            path=folder / entry.file,
            opener="feredge.runtime:open_artifact",
            contract=entry.card.contract,
            classes=entry.card.classes,
        )
        for entry in Manifest.read(folder).entries
    ]


def unique_images(dataset: Dataset, splits: Splits) -> NDArray[np.bool_]:
    """Return which test images stand nowhere else in `dataset`, neither exactly nor nearly, nor earlier in the test."""
    from feredge.data.duplicates import near_pairs, stand_in

    tested = np.isin(dataset.rows, splits.test.rows)
    rows, others = np.flatnonzero(tested), np.flatnonzero(~tested)
    unique = ~stand_in(dataset.images, rows, others)
    place = np.zeros(len(dataset), np.int64)
    place[rows] = np.arange(len(rows))
    for first, second in near_pairs(dataset.images, rows):
        unique[np.maximum(place[first], place[second])] = False
    return unique


def compare(
    subjects: Sequence[Subject],
    splits: Splits,
    unique: NDArray[np.bool_],
    effort: Effort,
    *,
    recipe: dict[str, object],
    progress: Progress = quiet,
) -> tuple[Results, dict[str, NDArray[np.generic]]]:
    """Measure any subjects on `splits.test`, whose `unique` images stand nowhere else in the data.

    Return the results, and the evidence behind them: `labels`; each row's `ROW/probabilities`, `float32 (N, classes)`;
    and `ROW/THREADS/ROUND`, QUANTILES quantiles of that round's inference times in nanoseconds.
    """
    return compare_groups([Group(tuple(subjects), splits, unique)], effort, recipe=recipe, progress=progress)


@dataclass(frozen=True, eq=False)
class Group:
    """Subjects that are judged on the same test images; `unique` ones stand nowhere else in the data."""

    subjects: tuple[Subject, ...]
    splits: Splits
    unique: NDArray[np.bool_]
    network: str = ""


def compare_groups(
    groups: Sequence[Group],
    effort: Effort,
    *,
    recipe: dict[str, object],
    notes: Sequence[str] = (),
    again: str = "",
    progress: Progress = quiet,
) -> tuple[Results, dict[str, NDArray[np.generic]]]:
    """Do what `compare` does with several groups at once. Names must differ; the results' data are the first's.

    A group without a float model is measured against its first file in float32. Beside `labels` there are
    `ROW/labels` of rows that are judged on others.
    """
    here = replace(machine.describe(), peaks=peaks())
    keys = [
        [(files.sha256(subject.path), subject.path.stat().st_size) for subject in group.subjects] for group in groups
    ]
    panels = [
        Panel([Trial(subject) for subject in group.subjects], group.splits.test.batch, group.splits.test.classes)
        for group in groups
    ]
    measure_panels(panels, effort, progress=progress)
    judged = [
        _Judged(panel.trials, keys_of_group, group.splits, group.unique, group.network)
        for panel, keys_of_group, group in zip(panels, keys, groups, strict=True)
    ]
    return _sum_up(judged, effort, here, recipe=recipe, notes=notes, again=again)


def peaks() -> dict[str, float]:
    """Return this machine's `Machine.peaks`, measured in a process of its own; empty where it cannot be."""
    with Worker(threads=1) as worker:
        try:
            answer, _ = worker.ask("peak", timeout=60.0)
        except WorkerFailure:
            return {}
    return dict(answer["peaks"])


def summed_up(
    trials: Sequence[Trial],
    keys: Sequence[tuple[str, int]],
    splits: Splits,
    unique: NDArray[np.bool_],
    effort: Effort,
    here: Machine,
    *,
    recipe: dict[str, object],
) -> tuple[Results, dict[str, NDArray[np.generic]]]:
    """Return what `compare` does, of trials that are over; `keys` are their files' SHA-256 and size."""
    return _sum_up([_Judged(trials, keys, splits, unique)], effort, here, recipe=recipe)


@dataclass(frozen=True, eq=False)
class _Judged:
    """A group whose trials are over."""

    trials: Sequence[Trial]
    keys: Sequence[tuple[str, int]]
    splits: Splits
    unique: NDArray[np.bool_]
    network: str = ""

    @property
    def reference(self) -> Trial | None:
        """What drops are measured against."""
        whole = [trial for trial in self.trials if trial.probabilities is not None]
        floats = [trial for trial in whole if trial.subject.kind == "float"]
        plain = [trial for trial in whole if (trial.subject.kind, trial.subject.precision) == ("artifact", "float32")]
        return next(iter((*floats, *plain)), None)

    @property
    def images(self) -> tuple[int, ...]:
        """Test images of each class."""
        test = self.splits.test
        return tuple(map(int, np.bincount(test.labels, minlength=len(test.classes))))


def _sum_up(
    groups: Sequence[_Judged],
    effort: Effort,
    here: Machine,
    *,
    recipe: dict[str, object],
    notes: Sequence[str] = (),
    again: str = "",
) -> tuple[Results, dict[str, NDArray[np.generic]]]:
    first = groups[0]
    test = first.splits.test
    data = Data(
        source=Path(test.source).name,
        digest=test.digest,
        classes=test.classes,
        images=first.images,
        repeated=int((~first.unique).sum()),
        dropped=first.splits.dropped,
    )
    evidence: dict[str, NDArray[np.generic]] = {"labels": test.labels}
    rows: list[Row] = []
    for group in groups:
        same = np.array_equal(group.splits.test.rows, test.rows) and group.splits.test.classes == data.classes
        rows += _rows(group, effort, here.peaks, same=same)
        evidence |= _evidence(group.trials)
        if not same:
            evidence |= {f"{trial.subject.name}/labels": group.splits.test.labels for trial in group.trials}
    results = Results(
        recipe=dict(recipe),
        data=data,
        machine=here,
        effort=effort,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=tuple(rows),
        notes=tuple(notes),
        again=again,
    )
    return results, evidence


def _rows(group: _Judged, effort: Effort, peaks: dict[str, float], *, same: bool) -> list[Row]:
    """Return a row a trial; with `same` they are judged on the data's classes and images."""
    reference, test = group.reference, group.splits.test
    plain = [
        trial for trial in group.trials if (trial.subject.variant, trial.subject.precision) == ("dense", "float32")
    ]
    found = []
    for trial, key in zip(group.trials, group.keys, strict=True):
        macs = trial.macs
        if macs is None and trial.subject.kind == "float":  # the network that these files are
            macs = next((one.macs for one in plain if one.macs is not None), None)
        row = _row(trial, key, reference, test, group.unique, effort)
        found.append(
            replace(
                row,
                network=group.network,
                beside=reference.subject.name if reference is not None and row.drop is not None else "",
                classes=() if same else test.classes,
                images=() if same else group.images,
                macs=macs,
                roofline=_roofline(macs, peaks, row),
            )
        )
    return found


def _roofline(macs: Macs | None, peaks: dict[str, float], row: Row) -> float | None:
    """Return the time that `macs` take at the machine's peak, as a share of the row's median at one thread."""
    timed = row.at(1)
    if macs is None or timed is None or not peaks:
        return None
    return 1e3 * (macs.floating / peaks["float32"] + macs.integer / peaks["int8"]) / timed.inference.median


def _row(
    trial: Trial,
    key: tuple[str, int],
    reference: Trial | None,
    test: Dataset,
    unique: NDArray[np.bool_],
    effort: Effort,
) -> Row:
    subject, seed, labels = trial.subject, effort.seed, test.labels
    known = reference if reference is not trial else None
    found = fallen = None
    if trial.probabilities is not None:
        found = accuracy.accuracy(trial.probabilities, labels, unique=unique)
        if known is not None and known.probabilities is not None:
            fallen = accuracy.drop(
                known.probabilities, trial.probabilities, labels, margin=effort.margin, seed=seed, rows=test.rows
            )
    chosen = corruptions.sample(len(labels), effort.corrupted, seed)
    beside = _named(known, chosen) if known is not None else None
    return Row(
        name=subject.name,
        kind=subject.kind,
        format=subject.format,
        variant=subject.variant,
        precision=subject.precision,
        sha256=key[0],
        bytes=key[1],
        failure=trial.failure,
        accuracy=found,
        drop=fallen,
        cold=trial.cold,
        memory=trial.memory,
        latency=tuple(timed for threads in effort.threads if (timed := trial.latency(effort, threads))),
        corrupted=accuracy.corrupted(_named(trial, chosen), beside or None, labels[chosen], seed=seed),
        runtime=subject.runtime,
    )


def _named(trial: Trial, chosen: NDArray[np.int64]) -> dict[Copy, NDArray[np.integer]]:
    """Return the classes named on the chosen images, clean and corrupted; empty unless all are there."""
    if trial.probabilities is None or len(trial.named) < len(corruptions.STRENGTHS) * 5:
        return {}
    return {("clean", 0): trial.probabilities[chosen].argmax(1), **trial.named}


def _evidence(trials: Sequence[Trial]) -> dict[str, NDArray[np.generic]]:
    evidence: dict[str, NDArray[np.generic]] = {}
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


def baseline_subjects(run: RunFolder, splits: Splits, progress: Progress) -> list[Subject]:
    """Fit the baselines to a run's training images, or take those that are kept with it."""
    from feredge import baselines

    return [
        Subject(
            name=fitted.id,
            kind="baseline",
            format=fitted.entry.format,
            variant=fitted.entry.card.variant,
            precision=fitted.entry.card.precision,
            path=fitted.path,
            opener="feredge.baselines:open_baseline",
            contract=fitted.entry.card.contract,
            classes=fitted.entry.card.classes,
        )
        for fitted in baselines.fit(baselines.DEFAULT, splits, cache=run.path / "baselines", progress=progress)
    ]
