"""Fit baselines side by side, keep each as a folder with a manifest, and use what is kept."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge import files
from feredge.baselines.conversion import Scaling, to_onnx
from feredge.baselines.parallel import run_parallel
from feredge.baselines.runner import hog, open_baseline
from feredge.baselines.systems import System, system
from feredge.data.dataset import Dataset, Splits
from feredge.errors import ArtifactError, DataError, VerificationError, one_line
from feredge.inference import artifact
from feredge.inference.artifact import Card, Entry, Manifest
from feredge.inference.contract import InputContract
from feredge.progress import Progress, quiet

FILE = "classical.float32.onnx"
PACKAGES = ("feredge", "numpy", "scikit-learn", "skl2onnx", "onnx")
CHECKED = 1000  # images on which a file is compared with what scikit-learn says
# A forest's votes tie, and a tie falls either way where the sum is float32 instead of float64: 0.5 % of images.
AGREEMENT = 0.98


@dataclass(frozen=True)
class Fitted:
    """A fitted baseline.

    Attributes:
        id: the system's.
        path: its ONNX file, for `open_baseline`.
        entry: what the manifest beside it says. Its `verification` has `images` (fitted to), `seconds` (of the fit),
            `agreement` (with scikit-learn, share of images) and, where they apply, `chosen` (by grid search), `cv` and
            `cv_std` (mean and standard deviation over the folds).
    """

    id: str
    path: Path
    entry: Entry


@dataclass(frozen=True)
class Job:
    """A system to fit to a training set, and the folder to keep it in."""

    system: System
    train: Dataset
    folder: Path


def fit(ids: Sequence[str], splits: Splits, *, cache: Path, progress: Progress = quiet) -> list[Fitted]:
    """Fit systems to the training split, or take them from `cache`, where each lies by its recipe and data.

    Cross-validations that a study made beside the fit are left out: `reproduce` makes them.

    Raises:
        RecipeError: an unknown id.
        DataError: training images that a system cannot be fitted to.
        ArtifactError: a kept file that was altered.
        VerificationError: a file that does not say what scikit-learn says.
    """
    return fit_jobs([plan(replace(system(id), folds=0), splits.train, cache) for id in ids], progress)


def plan(system: System, train: Dataset, cache: Path) -> Job:
    """Return the job, its folder named after all that decides the result."""
    key = json.dumps([system.recipe(), list(train.classes), digest(train)], sort_keys=True)
    return Job(system, train, cache / f"{system.id}-{hashlib.sha256(key.encode()).hexdigest()[:12]}")


def digest(dataset: Dataset) -> str:
    """Return the SHA-256 of pixels and labels."""
    return hashlib.sha256(dataset.images.tobytes() + dataset.labels.tobytes()).hexdigest()


def fit_jobs(jobs: Sequence[Job], progress: Progress = quiet) -> list[Fitted]:
    """Do the jobs that are not done yet, one a core; return what each made, in their order."""
    waiting = [job for job in jobs if not (job.folder / artifact.MANIFEST_FILE).is_file()]
    waiting.sort(key=lambda job: job.system.seconds, reverse=True)
    progress("baselines", len(jobs) - len(waiting), len(jobs))
    for done, name in enumerate(run_parallel(_fit, waiting), len(jobs) - len(waiting) + 1):
        progress("baselines", done, len(jobs), name)
    return [_open(job) for job in jobs]


def _open(job: Job) -> Fitted:
    entries = Manifest.read(job.folder).entries
    if [entry.file for entry in entries] != [FILE]:
        raise ArtifactError(f"{job.folder}: expected a fitted baseline, found {len(entries)} other files")
    return Fitted(job.system.id, job.folder / FILE, entries[0])


def _fit(job: Job) -> str:
    """Fit, write, check, and last name it complete. Return the system's id."""
    train, system = job.train, job.system
    scaling = _scaling(system, train)
    features = hog(train.images) if scaling is None else scaling(train.images)
    labels = train.labels.astype(np.int64)
    estimator = system.build()
    started = time.perf_counter()
    try:
        estimator.fit(features, labels)
        found: dict[str, Any] = {"images": len(train), "seconds": round(time.perf_counter() - started, 1)}
        found |= _cross_validate(system, features, labels)
    except ValueError as error:
        reason = one_line(error)
        raise DataError(f"{system.id}: cannot be fitted to {len(train)} images of {train.source} ({reason})") from error
    steps = _steps(estimator, found)
    columns = _columns(system, steps[-1], labels, len(train.classes))
    card = _card(system, train)
    files.write_bytes(job.folder / FILE, to_onnx(steps, columns, card, scaling))
    found["agreement"] = _agreement(job, estimator, columns)
    Manifest((artifact.manifest_entry(job.folder / FILE, card, found),)).write(job.folder)
    return system.id


def _scaling(system: System, train: Dataset) -> Scaling | None:
    if system.features == "hog":
        return None
    if system.features == "unit":
        return Scaling(0.0, 255.0)
    return Scaling(float(np.float32(train.images.mean())), float(np.float32(train.images.std())))


def _cross_validate(system: System, features: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    if not system.folds:
        return {}
    from sklearn.model_selection import cross_val_score

    scores = cross_val_score(system.build(), features, labels, cv=system.folds)
    return {"cv": float(scores.mean()), "cv_std": float(scores.std())}


def _steps(estimator: Any, found: dict[str, Any]) -> list[Any]:
    """Return the fitted steps in their order; put what a grid search chose into `found`."""
    from sklearn.model_selection import GridSearchCV

    steps = [step for _, step in estimator.steps] if hasattr(estimator, "steps") else [estimator]
    if isinstance(steps[-1], GridSearchCV):
        found |= {"chosen": steps[-1].best_params_, "cv": float(steps[-1].best_score_)}
        steps[-1] = steps[-1].best_estimator_
    return steps


def _columns(system: System, last: Any, labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Return `(scores, classes)`: to which class each score of the last step belongs."""
    from sklearn.svm import SVC

    if not system.clusters:
        belongs = last.classes_  # a class without training images has no score
        if isinstance(last, SVC) and len(belongs) == 2:
            belongs = belongs[::-1]  # skl2onnx gives the two scores of a pair the other way round
    elif system.clusters == "number":
        if classes < last.n_clusters:
            raise DataError(f"{system.id}: expected at least {last.n_clusters} classes, found {classes}")
        belongs = np.arange(last.n_clusters)
    else:
        counts = np.zeros((last.n_clusters, classes), np.int64)
        np.add.at(counts, (last.labels_, labels), 1)
        belongs = counts.argmax(axis=1)
    columns: NDArray[np.float32] = np.eye(classes, dtype=np.float32)[belongs]
    return columns


def _card(system: System, train: Dataset) -> Card:
    return Card(
        variant="classical",
        precision="float32",
        classes=train.classes,
        contract=InputContract(*train.images.shape[1:]),
        recipe=system.recipe(),
        source={"data": digest(train)},
        versions={name: version(name) for name in PACKAGES},
    )


def _agreement(job: Job, estimator: Any, columns: NDArray[np.float32]) -> float:
    """Return on what share of images the file and scikit-learn name the same class.

    The images are mirrored training images: whole trees and nearest neighbours have not seen those.

    Raises:
        VerificationError: too few; the file is removed.
    """
    rows = np.linspace(0, len(job.train) - 1, min(CHECKED, len(job.train))).astype(np.int64)
    images = np.ascontiguousarray(job.train.images[rows, :, ::-1])
    scaling = _scaling(job.system, job.train)
    expected = estimator.predict(hog(images) if scaling is None else scaling(images))
    if job.system.clusters:
        expected = columns.argmax(axis=1)[expected]
    path = job.folder / FILE
    share = float((open_baseline(path).predict(images[..., None]).argmax(axis=1) == expected).mean())
    if share < AGREEMENT:
        path.unlink()
        raise VerificationError(f"{path}: expected the class of scikit-learn on {AGREEMENT:.0%}, found {share:.1%}")
    return share
