"""Soft labels: logits of trained networks on the training images, for offline distillation.

A soft label is of the original image; training uses it for all augmented copies. The logits of several networks,
each on images and mirror images, are averaged, which is a better teacher than one of them; class probabilities
estimated from FER+'s votes (see fer_plus.py) count as one more network.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge import data, files
from feredge.data.dataset import Dataset
from feredge.errors import DataError, RunError, one_line
from feredge.progress import Progress, quiet
from feredge.recipes.schema import DataView
from feredge.run import RunFolder
from feredge.train import fer_plus

SOFT_LABELS_SCHEMA = "feredge soft labels 1"


@dataclass(frozen=True, eq=False)
class SoftLabels:
    """A teacher's outputs.

    Attributes:
        logits: `float32 (N, classes)`: outputs before the softmax, or log-probabilities.
        rows: `int64 (N,)`, row numbers of the images in the data set, in rising order.
        classes: class names, in the order of the columns.
        data: digest of the data set.
        teachers: digests of the teachers' weights, or of people's votes.
        sha256: digest of the file that they were read from.
    """

    logits: NDArray[np.float32]
    rows: NDArray[np.int64]
    classes: tuple[str, ...]
    data: str
    teachers: tuple[str, ...]
    sha256: str = ""

    def select(self, train: Dataset) -> NDArray[np.float32]:
        """Return the logits of the images of `train`, in their order.

        Raises:
            DataError: the soft labels are of other data, classes or images.
        """
        if (self.data, self.classes) != (train.digest, train.classes):
            actual = "others" if self.data != train.digest else ", ".join(self.classes)
            raise DataError(f"expected soft labels of {train.source} for {', '.join(train.classes)}, found {actual}")
        indices = np.searchsorted(self.rows, train.rows)
        missing = self.rows[np.minimum(indices, len(self.rows) - 1)] != train.rows
        if missing.any():
            raise DataError(f"expected soft labels of {len(train)} images, {int(missing.sum())} of them have none")
        return self.logits[indices]

    def write(self, path: Path) -> None:
        """Write an npz file for `read`, atomically."""
        metadata = {
            "schema": SOFT_LABELS_SCHEMA,
            "classes": list(self.classes),
            "data": self.data,
            "teachers": list(self.teachers),
        }
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, about=json.dumps(metadata), logits=self.logits, rows=self.rows)


def read(path: Path) -> SoftLabels:
    """Read a file that `SoftLabels.write` wrote.

    Raises:
        DataError: another kind of file, damage, or logits that are not finite.
    """
    try:
        archive = files.read_npz(path)
        metadata, logits, rows = json.loads(str(archive["about"])), archive["logits"], archive["rows"]
        if metadata["schema"] != SOFT_LABELS_SCHEMA:
            raise ValueError(f"schema {metadata['schema']!r}")
        classes, teachers = tuple(metadata["classes"]), tuple(metadata["teachers"])
        labels = SoftLabels(logits, rows, classes, metadata["data"], teachers, files.sha256(path))
    except Exception as error:  # zipfile, json and numpy raise a dozen kinds for a dozen kinds of damage
        raise DataError(f"{path}: expected a file of soft labels, cannot be read ({one_line(error)})") from error
    if rows.dtype != np.int64 or rows.ndim != 1 or not len(rows) or (np.diff(rows) <= 0).any():
        raise DataError(f"{path}: expected rows in rising order, found {rows.dtype} {rows.shape}")
    shape = len(rows), len(labels.classes)
    if logits.dtype != np.float32 or logits.shape != shape or not np.isfinite(logits).all():
        raise DataError(f"{path}: expected finite float32 logits {shape}, found {logits.dtype} {logits.shape}")
    return labels


def make_soft_labels(runs: Sequence[RunFolder], dataset: Dataset, *, progress: Progress = quiet) -> SoftLabels:
    """Return the mean logits of trained runs, on images and mirror images, for all images that training may use.

    Those are the first run's training and validation splits, duplicates included, so that they serve recipes with
    other validation splits. Test images are not included. Where the data set has votes, these count as one more run;
    without any run, they alone are the teacher.

    Raises:
        RunError: a run is missing, not trained, or of other data, classes or image size than the first.
        DataError: neither runs nor votes.
    """
    from feredge.keras import keras
    from feredge.train.networks import LOGITS_LAYER, make_predict_function
    from feredge.train.record import load_model

    view = runs[0].recipe().data if runs else DataView()
    _check_runs(runs, view)
    view = dataclasses.replace(view, holdout=0.0, drop_duplicates=False)
    splits = data.split(dataset, view)
    images = _join(splits.train, splits.validation if not view.validation_is_test else None)
    total = np.zeros((len(images), len(images.classes)))
    teachers = []
    for number, run in enumerate(runs):
        model = load_model(run)
        run.check_data(dataset)
        if tuple(run.data()["classes"]) != images.classes:
            raise RunError(f"{run.path}: expected the classes of {runs[0].path}, found {run.data()['classes']}")
        core = model.get_layer("core")
        predict_logits = make_predict_function(keras.Model(core.input, core.get_layer(LOGITS_LAYER).output))
        for orientation in (images.images, images.images[:, :, ::-1]):
            total += predict_logits(orientation)
        teachers.append(run.training_record()["weights"])
        progress("soft labels", number + 1, len(runs))
    if images.votes is not None or not runs:
        total += 2 * fer_plus.label_log_probabilities(images)
        teachers.append(fer_plus.votes_digest(images))
    mean = (total / (2 * len(teachers))).astype(np.float32)
    return SoftLabels(mean, images.rows, images.classes, dataset.digest, tuple(teachers))


def _check_runs(runs: Sequence[RunFolder], view: DataView) -> None:
    """Raise an error unless all runs were trained here, on images of the view's size and channels."""
    for run in runs:
        recipe = run.recipe()
        if recipe.network.name == "foreign":
            raise RunError(f"{run.path}: expected a network trained here, whose logits are known, found a foreign one")
        if (recipe.data.size, recipe.data.channels) != (view.size, view.channels):
            expected, actual = (f"{one.size}x{one.size}x{one.channels}" for one in (view, recipe.data))
            raise RunError(f"{run.path}: expected images of {expected} like {runs[0].path}'s, found {actual}")


def _join(*splits: Dataset | None) -> Dataset:
    """Return the images of several splits of one data set, sorted by row."""
    parts = [split for split in splits if split is not None]
    joined = dataclasses.replace(
        parts[0],
        images=np.concatenate([part.images for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        usage=np.concatenate([part.usage for part in parts]),
        rows=np.concatenate([part.rows for part in parts]),
        votes=None if parts[0].votes is None else np.concatenate([part.votes for part in parts]),
    )
    return joined.take(np.argsort(joined.rows, kind="stable"))
