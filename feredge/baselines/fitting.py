"""Fit baselines in parallel, and cache each in a folder with a manifest."""

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
from feredge.baselines.catalog import Baseline, Estimator, get_baseline
from feredge.baselines.conversion import Scaling, to_onnx
from feredge.baselines.parallel import run_parallel
from feredge.baselines.runner import hog, open_baseline
from feredge.data.dataset import Dataset, Splits
from feredge.errors import ArtifactError, DataError, VerificationError, one_line
from feredge.inference import artifact
from feredge.inference.artifact import Card, Entry, Manifest
from feredge.inference.contract import InputContract
from feredge.progress import Progress, quiet

BASELINE_FILE = "classical.float32.onnx"
RECORDED_PACKAGES = ("feredge", "numpy", "scikit-learn", "skl2onnx", "onnx")
CHECK_IMAGES = 1000  # images on which a file is compared with scikit-learn
# Ties between a forest's votes are broken differently in float32 and float64: on 0.5 % of the images.
MIN_AGREEMENT = 0.98


@dataclass(frozen=True)
class FittedBaseline:
    """A fitted baseline.

    Attributes:
        id: of the baseline.
        path: its ONNX file, for `open_baseline`.
        entry: its manifest entry. `verification` has `images` (fitted to), `seconds` (of the fit), `agreement` (with
            scikit-learn, share of images) and, where they apply, `chosen` (by grid search), `cv` and `cv_std` (mean
            and standard deviation over the folds).
    """

    id: str
    path: Path
    entry: Entry


@dataclass(frozen=True)
class FitJob:
    """A baseline to fit to a training set, and the folder to write it to."""

    baseline: Baseline
    train: Dataset
    folder: Path


def fit(ids: Sequence[str], splits: Splits, *, cache: Path, progress: Progress = quiet) -> list[FittedBaseline]:
    """Fit baselines to the training split, or take them from `cache`, whose key is recipe and data.

    Cross-validation of the studies is skipped here; `reproduce` runs it.

    Raises:
        RecipeError: an unknown id.
        DataError: training images that a baseline cannot be fitted to.
        ArtifactError: a cached file that was modified.
        VerificationError: a converted file that disagrees with scikit-learn.
    """
    return fit_jobs([plan_fit(replace(get_baseline(id), folds=0), splits.train, cache) for id in ids], progress)


def plan_fit(baseline: Baseline, train: Dataset, cache: Path) -> FitJob:
    """Return the job, with a folder named by a hash of everything that determines the result."""
    key = json.dumps([baseline.recipe(), list(train.classes), digest(train)], sort_keys=True)
    return FitJob(baseline, train, cache / f"{baseline.id}-{hashlib.sha256(key.encode()).hexdigest()[:12]}")


def digest(dataset: Dataset) -> str:
    """Return the SHA-256 of pixels and labels."""
    return hashlib.sha256(dataset.images.tobytes() + dataset.labels.tobytes()).hexdigest()


def fit_jobs(jobs: Sequence[FitJob], progress: Progress = quiet) -> list[FittedBaseline]:
    """Run the jobs that are not cached, one per core; return the fitted baselines in the order of `jobs`."""
    pending = [job for job in jobs if not (job.folder / artifact.MANIFEST_FILE).is_file()]
    pending.sort(key=lambda job: job.baseline.seconds, reverse=True)
    progress("baselines", len(jobs) - len(pending), len(jobs))
    for done, name in enumerate(run_parallel(_fit, pending), len(jobs) - len(pending) + 1):
        progress("baselines", done, len(jobs), name)
    return [_open_fitted(job) for job in jobs]


def _open_fitted(job: FitJob) -> FittedBaseline:
    entries = Manifest.read(job.folder).entries
    if [entry.file for entry in entries] != [BASELINE_FILE]:
        raise ArtifactError(f"{job.folder}: expected a fitted baseline, found {len(entries)} other files")
    return FittedBaseline(job.baseline.id, job.folder / BASELINE_FILE, entries[0])


def _fit(job: FitJob) -> str:
    """Fit, convert and check a baseline; the manifest, written last, marks it complete. Return its id."""
    train, baseline = job.train, job.baseline
    scaling = _scaling(baseline, train)
    features = hog(train.images) if scaling is None else scaling(train.images)
    labels = train.labels.astype(np.int64)
    estimator = baseline.build()
    started = time.perf_counter()
    try:
        estimator.fit(features, labels)
        measurements: dict[str, Any] = {"images": len(train), "seconds": round(time.perf_counter() - started, 1)}
        measurements |= _cross_validate(baseline, features, labels)
    except ValueError as error:
        reason = one_line(error)
        raise DataError(
            f"{baseline.id}: cannot be fitted to {len(train)} images of {train.source} ({reason})"
        ) from error
    steps = _steps(estimator, measurements)
    class_matrix = _class_matrix(baseline, steps[-1], labels, len(train.classes))
    card = _card(baseline, train)
    files.write_bytes(job.folder / BASELINE_FILE, to_onnx(steps, class_matrix, card, scaling))
    measurements["agreement"] = _agreement(job, estimator, class_matrix)
    Manifest((artifact.manifest_entry(job.folder / BASELINE_FILE, card, measurements),)).write(job.folder)
    return baseline.id


def _scaling(baseline: Baseline, train: Dataset) -> Scaling | None:
    if baseline.features == "hog":
        return None
    if baseline.features == "unit":
        return Scaling(0.0, 255.0)
    return Scaling(float(np.float32(train.images.mean())), float(np.float32(train.images.std())))


def _cross_validate(baseline: Baseline, features: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    if not baseline.folds:
        return {}
    from sklearn.model_selection import cross_val_score

    scores = cross_val_score(baseline.build(), features, labels, cv=baseline.folds)
    return {"cv": float(scores.mean()), "cv_std": float(scores.std())}


def _steps(estimator: Estimator, measurements: dict[str, Any]) -> list[Estimator]:
    """Return the fitted steps in order; add the result of a grid search to `measurements`."""
    from sklearn.model_selection import GridSearchCV

    steps = [step for _, step in estimator.steps] if hasattr(estimator, "steps") else [estimator]
    if isinstance(steps[-1], GridSearchCV):
        measurements |= {"chosen": steps[-1].best_params_, "cv": float(steps[-1].best_score_)}
        steps[-1] = steps[-1].best_estimator_
    return steps


def _class_matrix(
    baseline: Baseline, final_step: Estimator, labels: NDArray[np.int64], classes: int
) -> NDArray[np.float32]:
    """Return the one-hot matrix `(scores, classes)` of the class that each score of the last step is for."""
    from sklearn.svm import SVC

    if not baseline.clusters:
        class_index = final_step.classes_  # a class without training images has no score
        if isinstance(final_step, SVC) and len(class_index) == 2:
            class_index = class_index[::-1]  # skl2onnx reverses the two scores of a binary SVC
    elif baseline.clusters == "number":
        if classes < final_step.n_clusters:
            raise DataError(f"{baseline.id}: expected at least {final_step.n_clusters} classes, found {classes}")
        class_index = np.arange(final_step.n_clusters)
    else:
        counts = np.zeros((final_step.n_clusters, classes), np.int64)
        np.add.at(counts, (final_step.labels_, labels), 1)
        class_index = counts.argmax(axis=1)
    class_matrix: NDArray[np.float32] = np.eye(classes, dtype=np.float32)[class_index]
    return class_matrix


def _card(baseline: Baseline, train: Dataset) -> Card:
    return Card(
        variant="classical",
        precision="float32",
        classes=train.classes,
        contract=InputContract(*train.images.shape[1:]),
        recipe=baseline.recipe(),
        source={"data": digest(train)},
        versions={name: version(name) for name in RECORDED_PACKAGES},
    )


def _agreement(job: FitJob, estimator: Estimator, class_matrix: NDArray[np.float32]) -> float:
    """Return the share of images on which the file and scikit-learn predict the same class.

    The images are mirrored training images, which full-depth trees and nearest neighbours were not fitted to.

    Raises:
        VerificationError: less than MIN_AGREEMENT; the file is removed.
    """
    rows = np.linspace(0, len(job.train) - 1, min(CHECK_IMAGES, len(job.train))).astype(np.int64)
    images = np.ascontiguousarray(job.train.images[rows, :, ::-1])
    scaling = _scaling(job.baseline, job.train)
    expected = estimator.predict(hog(images) if scaling is None else scaling(images))
    if job.baseline.clusters:
        expected = class_matrix.argmax(axis=1)[expected]
    path = job.folder / BASELINE_FILE
    share = float((open_baseline(path).predict(images).argmax(axis=1) == expected).mean())
    if share < MIN_AGREEMENT:
        path.unlink()
        raise VerificationError(f"{path}: expected the class of scikit-learn on {MIN_AGREEMENT:.0%}, found {share:.1%}")
    return share
