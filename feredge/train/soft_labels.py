"""Teaching: what trained networks say of the training images, for another network to learn from.

A soft label belongs to the picture as it stands in the data; training shows changed copies of it and keeps the label.
Networks and their mirror images are averaged, which teaches better than one of them; what people's votes say (see
voting.py) counts as one more.
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

SCHEMA = "feredge soft labels 1"


@dataclass(frozen=True, eq=False)
class SoftLabels:
    """A teacher's outputs.

    Attributes:
        logits: `float32 (N, classes)`: outputs before the softmax, or logarithms of probabilities.
        rows: `int64 (N,)`, the data set's rows that they belong to, in rising order.
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

    def of(self, train: Dataset) -> NDArray[np.float32]:
        """Return the logits of the images of `train`, in their order.

        Raises:
            DataError: they belong to other data, classes or images.
        """
        if (self.data, self.classes) != (train.digest, train.classes):
            found = "others" if self.data != train.digest else ", ".join(self.classes)
            raise DataError(f"expected soft labels of {train.source} for {', '.join(train.classes)}, found {found}")
        places = np.searchsorted(self.rows, train.rows)
        missing = self.rows[np.minimum(places, len(self.rows) - 1)] != train.rows
        if missing.any():
            raise DataError(f"expected soft labels of {len(train)} images, {int(missing.sum())} of them have none")
        return self.logits[places]

    def write(self, path: Path) -> None:
        """Write an npz file that `read` reads, whole or not at all."""
        about = {"schema": SCHEMA, "classes": list(self.classes), "data": self.data, "teachers": list(self.teachers)}
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, about=json.dumps(about), logits=self.logits, rows=self.rows)


def read(path: Path) -> SoftLabels:
    """Read what `SoftLabels.write` wrote.

    Raises:
        DataError: not such a file, damaged, or with numbers that are not finite.
    """
    try:
        archive = files.read_npz(path)
        about, logits, rows = json.loads(str(archive["about"])), archive["logits"], archive["rows"]
        if about["schema"] != SCHEMA:
            raise ValueError(f"schema {about['schema']!r}")
        labels = SoftLabels(
            logits, rows, tuple(about["classes"]), about["data"], tuple(about["teachers"]), files.sha256(path)
        )
    except Exception as error:  # zipfile, json and numpy raise a dozen kinds for a dozen kinds of damage
        raise DataError(f"{path}: expected a file of soft labels, cannot be read ({one_line(error)})") from error
    if rows.dtype != np.int64 or rows.ndim != 1 or not len(rows) or (np.diff(rows) <= 0).any():
        raise DataError(f"{path}: expected rows in rising order, found {rows.dtype} {rows.shape}")
    shape = len(rows), len(labels.classes)
    if logits.dtype != np.float32 or logits.shape != shape or not np.isfinite(logits).all():
        raise DataError(f"{path}: expected finite float32 logits {shape}, found {logits.dtype} {logits.shape}")
    return labels


def teach(runs: Sequence[RunFolder], dataset: Dataset, *, progress: Progress = quiet) -> SoftLabels:
    """Return the mean logits of trained runs, and of their mirror images, for all images that training may use.

    Those are the images of the first run's training and validation splits, duplicates too, so that a recipe that
    sets others aside finds its own. Test images are not among them. Where the data set has votes, they count as one
    more run; without any run, they alone teach.

    Raises:
        RunError: not trained, or not here; other data, other classes or images of another size than the first run's.
        DataError: neither runs nor votes.
    """
    from feredge.keras import keras
    from feredge.train.networks import compiled
    from feredge.train.record import load_model

    asked = runs[0].recipe().data if runs else DataView()
    size = asked.size
    for run in runs:
        if run.recipe().network.name == "foreign":
            raise RunError(f"{run.path}: expected a network trained here, whose logits are known, found a foreign one")
        if run.recipe().data.size != size:
            found = f"{run.recipe().data.size} pixels"
            raise RunError(f"{run.path}: expected images of {size} pixels like {runs[0].path}'s, found {found}")
    view = dataclasses.replace(asked, holdout=0.0, drop_duplicates=False)
    splits = data.split(dataset, view)
    images = _in_order(splits.train, splits.validation if not view.validation_is_test else None)
    total = np.zeros((len(images), len(images.classes)))
    teachers = []
    for number, run in enumerate(runs):
        model = load_model(run)
        run.check_data(dataset)
        if tuple(run.data()["classes"]) != images.classes:
            raise RunError(f"{run.path}: expected the classes of {runs[0].path}, found {run.data()['classes']}")
        core = model.get_layer("core")
        logits = compiled(keras.Model(core.input, core.get_layer("logits").output))
        for sides in (images.images, images.images[:, :, ::-1]):
            total += logits(sides)
        teachers.append(run.training_record()["weights"])
        progress("teach", number + 1, len(runs))
    if images.votes is not None or not runs:
        total += 2 * fer_plus.log_shares(images)
        teachers.append(fer_plus.digest(images))
    mean = (total / (2 * len(teachers))).astype(np.float32)
    return SoftLabels(mean, images.rows, images.classes, dataset.digest, tuple(teachers))


def _in_order(*parts: Dataset | None) -> Dataset:
    """Return the images of several splits of one data set, by their rows."""
    given = [part for part in parts if part is not None]
    joined = dataclasses.replace(
        given[0],
        images=np.concatenate([part.images for part in given]),
        labels=np.concatenate([part.labels for part in given]),
        usage=np.concatenate([part.usage for part in given]),
        rows=np.concatenate([part.rows for part in given]),
        votes=None if given[0].votes is None else np.concatenate([part.votes for part in given]),
    )
    return joined.take(np.argsort(joined.rows, kind="stable"))
