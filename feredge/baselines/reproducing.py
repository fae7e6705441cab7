"""Every published baseline again, by its study's own protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feredge import files
from feredge.baselines.fitting import Fitted, digest, fit_jobs, plan
from feredge.baselines.parallel import run_parallel
from feredge.baselines.protocols import STUDIES, View
from feredge.baselines.runner import open_baseline
from feredge.baselines.systems import SYSTEMS, system
from feredge.data.dataset import Dataset
from feredge.progress import Progress, quiet

BATCH = 256


@dataclass(frozen=True)
class Reproduction:
    """A system by its study's protocol.

    Attributes:
        id: the system's.
        about: what it is.
        study: whose protocol.
        published: the study's figures, see `System.published`.
        measured: ours, under the same names: shares of images, by the kept file in onnxruntime; `cv` and `cv_std` by
            scikit-learn.
        images: how many, `train`, `test` and perhaps `held_out`.
        seconds: of the fit, in one process beside others.
        deviation: how the protocol was not the study's; empty where it was.
        path: the kept file.
        sha256: its digest.
        bytes: its size.
    """

    id: str
    about: str
    study: str
    published: dict[str, float]
    measured: dict[str, float]
    images: dict[str, int]
    seconds: float
    deviation: str
    path: Path
    sha256: str
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "path": str(self.path)}


@dataclass(frozen=True)
class _Trial:
    fitted: Fitted
    parts: dict[str, Dataset]


def reproduce(
    dataset: Dataset, ids: Sequence[str] | None = None, *, cache: Path, progress: Progress = quiet
) -> list[Reproduction]:
    """Fit and test systems, all unless `ids` names some, by their studies' protocols.

    Raises:
        RecipeError: an unknown id.
        DataError: a data set without the splits or classes of a protocol, or too small for a system.
        ArtifactError: a kept file that was altered.
        VerificationError: a file that does not say what scikit-learn says.
    """
    chosen = [system(id) for id in dict.fromkeys(ids)] if ids is not None else list(SYSTEMS)
    views = {study: STUDIES[study](dataset) for study in dict.fromkeys(one.study for one in chosen)}
    fitted = fit_jobs([plan(one, views[one.study].train, cache) for one in chosen], progress)
    trials = [_Trial(one, _parts(views[system(one.id).study])) for one in fitted]
    progress("testing", 0, len(trials))
    measured: dict[str, dict[str, float]] = {}
    for id, figures in run_parallel(_measure, trials):
        measured[id] = figures
        progress("testing", len(measured), len(trials), id)
    return [_result(trial, measured[trial.fitted.id], views) for trial in trials]


def _parts(view: View) -> dict[str, Dataset]:
    parts = {"train": view.train, "test": view.test, "held_out": view.held_out}
    return {name: part for name, part in parts.items() if part is not None}


def _measure(trial: _Trial) -> tuple[str, dict[str, float]]:
    """Return the share of each part's images that the file gets right; what was measured once is kept beside it."""
    key = [trial.fitted.entry.sha256, *(digest(part) for part in trial.parts.values())]
    kept = trial.fitted.path.parent / "accuracy.json"
    try:
        value = json.loads(kept.read_text(encoding="utf-8"))
        if value["key"] == key:
            return trial.fitted.id, value["accuracy"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or a damaged one: measured anew
    accuracy = {name: _accuracy(trial.fitted.path, part) for name, part in trial.parts.items()}
    files.write_json(kept, {"key": key, "accuracy": accuracy})
    return trial.fitted.id, accuracy


def _accuracy(path: Path, part: Dataset) -> float:
    runner = open_baseline(path)
    starts = range(0, len(part), BATCH)
    right = [
        np.argmax(runner.predict(part.batch[start : start + BATCH]), axis=1) == part.labels[start : start + BATCH]
        for start in starts
    ]
    return float(np.concatenate(right).mean())


def _result(trial: _Trial, accuracy: dict[str, float], views: dict[str, View]) -> Reproduction:
    one, entry = system(trial.fitted.id), trial.fitted.entry
    folds = {name: entry.verification[name] for name in ("cv", "cv_std") if name in entry.verification}
    return Reproduction(
        id=one.id,
        about=one.about,
        study=one.study,
        published=one.published,
        measured=accuracy | folds,
        images={name: len(part) for name, part in trial.parts.items()},
        seconds=entry.verification["seconds"],
        deviation=views[one.study].deviation,
        path=trial.fitted.path,
        sha256=entry.sha256,
        bytes=entry.bytes,
    )
