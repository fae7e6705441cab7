"""Trials that are over, summed up: a row a trial, and the evidence behind it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark import accuracy, corruptions
from feredge.benchmark.candidates import Group
from feredge.benchmark.results import Data, Effort, Machine, Results, Row
from feredge.benchmark.trial import Copy, Trial
from feredge.inspection.macs import Macs

QUANTILES = 1001


@dataclass(frozen=True, eq=False)
class Judged:
    """A group whose trials are over, one for each of its subjects; `keys` are their files' SHA-256 and size."""

    group: Group
    trials: Sequence[Trial]
    keys: Sequence[tuple[str, int]]

    @property
    def reference(self) -> Trial | None:
        """What drops are measured against."""
        whole = [trial for trial in self.trials if trial.probabilities is not None]
        floats = [trial for trial in whole if trial.subject.kind == "float"]
        plain = [trial for trial in whole if (trial.subject.kind, trial.subject.precision) == ("artifact", "float32")]
        plain.sort(key=lambda trial: trial.subject.variant != "dense")  # what was left whole, if it is there
        return next(iter((*floats, *plain)), None)


def sum_up(
    groups: Sequence[Judged],
    effort: Effort,
    here: Machine,
    *,
    recipe: dict[str, object],
    notes: Sequence[str] = (),
    again: str = "",
) -> tuple[Results, dict[str, NDArray[np.generic]]]:
    """Return what `compare` does, of trials that are over."""
    first = groups[0].group
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
    for judged in groups:
        own = judged.group.splits.test
        same = np.array_equal(own.rows, test.rows) and own.classes == data.classes
        rows += _rows(judged, effort, here.peaks, same=same)
        evidence |= _evidence(judged.trials)
        if not same:
            evidence |= {f"{trial.subject.name}/labels": own.labels for trial in judged.trials}
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


def _rows(judged: Judged, effort: Effort, peaks: dict[str, float], *, same: bool) -> list[Row]:
    """Return a row a trial; with `same` they are judged on the data's classes and images."""
    group, reference = judged.group, judged.reference
    judged_on = hashlib.sha256(group.splits.test.rows.astype("<i8").tobytes()).hexdigest()[:16]
    plain = [
        trial for trial in judged.trials if (trial.subject.variant, trial.subject.precision) == ("dense", "float32")
    ]
    found = []
    for trial, key in zip(judged.trials, judged.keys, strict=True):
        macs = trial.macs
        if macs is None and trial.subject.kind == "float":  # the network that these files are
            macs = next((one.macs for one in plain if one.macs is not None), None)
        row = _row(trial, key, reference, group, effort)
        found.append(
            replace(
                row,
                network=group.network,
                beside=reference.subject.name if reference is not None and row.drop is not None else "",
                classes=() if same else group.splits.test.classes,
                images=() if same else group.images,
                judged=judged_on,
                macs=macs,
                roofline=_roofline(macs, peaks, row),
            )
        )
    return found


def _roofline(macs: Macs | None, peaks: dict[str, float], row: Row) -> float | None:
    """Return the time that `macs` take at the machine's peak, as a share of the row's median at one thread."""
    if macs is None or row.headline is None or not peaks:
        return None
    return 1e3 * (macs.floating / peaks["float32"] + macs.integer / peaks["int8"]) / row.headline.median


def _row(
    trial: Trial,
    key: tuple[str, int],
    reference: Trial | None,
    group: Group,
    effort: Effort,
) -> Row:
    test = group.splits.test
    subject, seed, labels = trial.subject, effort.seed, test.labels
    known = reference if reference is not trial else None
    found = fallen = None
    if trial.probabilities is not None:
        found = accuracy.accuracy(trial.probabilities, labels, unique=group.unique)
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
