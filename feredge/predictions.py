"""A run's stored test set predictions, scikit-learn's classification report of them, and their calibration error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge import files
from feredge.data.dataset import Dataset
from feredge.errors import RunError, one_line
from feredge.inference.contract import Images
from feredge.run import RunFolder

CALIBRATION_BINS = 15


@dataclass(frozen=True, eq=False)
class Predictions:
    """A network's predictions for the test images.

    Attributes:
        probabilities: `float32 (N, classes)`.
        labels: `int8 (N,)`.
        rows: `int64 (N,)`, row numbers as in Dataset.
        classes: class names.
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int8]
    rows: NDArray[np.int64]
    classes: tuple[str, ...]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each image, `int64 (N,)`."""
        return self.probabilities.argmax(axis=1)  # type: ignore[no-any-return]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Whether each image is misclassified, `bool (N,)`."""
        return self.predicted != self.labels  # type: ignore[no-any-return]

    def write(self, path: Path) -> None:
        """Write the predictions as npz, atomically."""
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                probabilities=self.probabilities,
                labels=self.labels,
                rows=self.rows,
                classes=np.array(self.classes),
            )


def read(run: RunFolder) -> Predictions:
    """Return the predictions of a trained run.

    Raises:
        RunError: no stored predictions, or a damaged file.
    """
    run = RunFolder.open(run.path, trained=True)
    if not run.predictions.is_file():
        raise RunError(f"{run.path}: expected predictions.npz, found none; it was trained before they were kept")
    try:
        stored = files.read_npz(run.predictions)
        return Predictions(stored["probabilities"], stored["labels"], stored["rows"], tuple(stored["classes"].tolist()))
    except Exception as error:  # zipfile and numpy raise a dozen types for damaged files
        raise RunError(f"{run.predictions}: cannot be read ({one_line(error)})") from error


def select_images(predictions: Predictions, dataset: Dataset) -> Images:
    """Return the images of the predictions, `uint8 (N, H, W, C)`, from the complete data set.

    Raises:
        RunError: a row that is not in the data set.
    """
    order = np.argsort(dataset.rows)
    insertions = np.searchsorted(dataset.rows, predictions.rows, sorter=order)
    positions = order[np.minimum(insertions, len(order) - 1)]
    if not np.array_equal(dataset.rows[positions], predictions.rows):
        raise RunError(f"{dataset.source}: expected the rows of the predictions, found others")
    return dataset.images[positions]


def calibration_error(probabilities: NDArray[np.float32], labels: NDArray[np.integer]) -> float:
    """Return the expected calibration error, over CALIBRATION_BINS equal bins of confidence (Guo et al. 2017)."""
    confidence = probabilities.max(1).astype(np.float64)
    correct = probabilities.argmax(1) == labels
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def report(predictions: Predictions, *, as_text: bool = False) -> Any:
    """Return scikit-learn's classification report: precision, recall, F1 and support of each class, and means."""
    from sklearn.metrics import classification_report

    return classification_report(
        predictions.labels,
        predictions.predicted,
        labels=range(len(predictions.classes)),
        target_names=predictions.classes,
        digits=4,
        zero_division=0,
        output_dict=not as_text,
    )
