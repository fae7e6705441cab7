"""Reproduce the published baselines by their studies' protocols."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feredge import files
from feredge.baselines.catalog import BASELINES, get_baseline
from feredge.baselines.fitting import FittedBaseline, digest, fit_jobs, plan_fit
from feredge.baselines.parallel import run_parallel
from feredge.baselines.protocols import STUDY_PROTOCOLS, StudySplits
from feredge.baselines.runner import open_baseline
from feredge.data.dataset import Dataset
from feredge.progress import Progress, quiet

PREDICT_BATCH = 256


@dataclass(frozen=True)
class Reproduction:
    """Result of a baseline under its study's protocol.

    Attributes:
        id: of the baseline.
        about: description of the baseline.
        study: whose protocol was followed.
        published: the study's figures, see `Baseline.published`.
        measured: the reproduced figures under the same names: accuracy of the ONNX file in onnxruntime; `cv` and
            `cv_std` of scikit-learn.
        images: number of images in `train`, `test` and, if the study has it, `held_out`.
        seconds: fitting time, measured while other baselines were fitted at the same time.
        deviation: differences from the study's protocol; empty if there are none.
        path: the ONNX file.
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
        """Return the result as JSON values."""
        return {**asdict(self), "path": str(self.path)}


@dataclass(frozen=True)
class _Evaluation:
    """A fitted baseline, and the parts of the data set to measure its accuracy on."""

    fitted: FittedBaseline
    parts: dict[str, Dataset]


def reproduce(
    dataset: Dataset, ids: Sequence[str] | None = None, *, cache: Path, progress: Progress = quiet
) -> list[Reproduction]:
    """Fit and test baselines by their studies' protocols; all of them if `ids` is None.

    Raises:
        RecipeError: an unknown id.
        DataError: a data set without the splits or classes of a protocol, or too small for a baseline.
        ArtifactError: a cached file that was modified.
        VerificationError: a converted file that disagrees with scikit-learn.
    """
    baselines = [get_baseline(id) for id in dict.fromkeys(ids)] if ids is not None else list(BASELINES)
    study_splits = {study: STUDY_PROTOCOLS[study](dataset) for study in dict.fromkeys(b.study for b in baselines)}
    fitted = fit_jobs([plan_fit(b, study_splits[b.study].train, cache) for b in baselines], progress)
    evaluations = [_Evaluation(f, _parts(study_splits[get_baseline(f.id).study])) for f in fitted]
    progress("testing", 0, len(evaluations))
    accuracies: dict[str, dict[str, float]] = {}
    for id, accuracy in run_parallel(_measure, evaluations):
        accuracies[id] = accuracy
        progress("testing", len(accuracies), len(evaluations), id)
    return [_result(evaluation, accuracies[evaluation.fitted.id], study_splits) for evaluation in evaluations]


def _parts(splits: StudySplits) -> dict[str, Dataset]:
    parts = {"train": splits.train, "test": splits.test, "held_out": splits.held_out}
    return {name: part for name, part in parts.items() if part is not None}


def _measure(evaluation: _Evaluation) -> tuple[str, dict[str, float]]:
    """Return the baseline's id and its accuracy on each part, cached in a file beside the model."""
    fitted = evaluation.fitted
    key = [fitted.entry.sha256, *(digest(part) for part in evaluation.parts.values())]
    cache_file = fitted.path.parent / "accuracy.json"
    try:
        value = json.loads(cache_file.read_text(encoding="utf-8"))
        if value["key"] == key:
            return fitted.id, value["accuracy"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # missing or damaged: measured again
    accuracy = {name: _accuracy(fitted.path, part) for name, part in evaluation.parts.items()}
    files.write_json(cache_file, {"key": key, "accuracy": accuracy})
    return fitted.id, accuracy


def _accuracy(path: Path, part: Dataset) -> float:
    runner = open_baseline(path)
    correct = []
    for start in range(0, len(part), PREDICT_BATCH):
        end = start + PREDICT_BATCH
        correct.append(np.argmax(runner.predict(part.images[start:end]), axis=1) == part.labels[start:end])
    return float(np.concatenate(correct).mean())


def _result(evaluation: _Evaluation, accuracy: dict[str, float], study_splits: dict[str, StudySplits]) -> Reproduction:
    fitted = evaluation.fitted
    baseline, entry = get_baseline(fitted.id), fitted.entry
    cross_validation = {name: entry.verification[name] for name in ("cv", "cv_std") if name in entry.verification}
    return Reproduction(
        id=baseline.id,
        about=baseline.description,
        study=baseline.study,
        published=baseline.published,
        measured=accuracy | cross_validation,
        images={name: len(part) for name, part in evaluation.parts.items()},
        seconds=entry.verification["seconds"],
        deviation=study_splits[baseline.study].deviation,
        path=fitted.path,
        sha256=entry.sha256,
        bytes=entry.bytes,
    )
