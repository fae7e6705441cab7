"""`draw`: write all plots of a trained run to its folder `pictures`."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from feredge import data, files
from feredge.data.dataset import Dataset
from feredge.errors import RunError
from feredge.plots import classification, epochs, examples, training_data
from feredge.predictions import Predictions, read, report, select_images
from feredge.progress import Progress, quiet
from feredge.run import RunFolder


def draw(run: RunFolder, dataset: Dataset, *, progress: Progress = quiet) -> list[Path]:
    """Draw all plots of a trained run, and write its classification report.

    Args:
        run: a trained run.
        dataset: the data set that it was trained on.
        progress: called after each plot.

    Returns:
        The files, in `pictures` of the run folder.

    Raises:
        RunError: the run is not trained, has no stored predictions of the test images, or a damaged file, or was
            trained on other data.
    """
    run = RunFolder.open(run.path, trained=True)
    run.check_data(dataset)
    predictions, history = read(run), _history(run)
    kept_epoch = run.training_record().get("kept_epoch", 0)
    splits = data.split(dataset, run.recipe().data)
    faces = select_images(predictions, dataset)
    tasks: dict[str, Callable[[Path], None]] = {
        "curves.png": lambda path: epochs.curves(path, history, kept_epoch=kept_epoch),
        "epochs.png": lambda path: epochs.violins(path, history),
        "classes.png": lambda path: training_data.class_counts(path, splits.counts()),
        "one-of-each.png": lambda path: data.write_sample_grid(splits.train, path),
        "variance.png": lambda path: training_data.explained_variance(path, splits.train.images),
    }
    if len(predictions.labels):  # the test images have labels
        tasks |= {
            "confusion.png": lambda path: classification.confusion(path, predictions),
            "scores.png": lambda path: classification.class_scores(path, predictions),
            "roc.png": lambda path: classification.roc(path, predictions),
            "predictions.png": lambda path: examples.grid(path, predictions, faces),
            "singles.png": lambda path: examples.singles(path, predictions, faces),
            "mistakes.png": lambda path: examples.mistakes(path, predictions, faces),
            "classification.txt": lambda path: _write_report(path, predictions),
        }
    for number, (name, task) in enumerate(tasks.items(), start=1):
        task(run.pictures / name)
        progress("pictures", number, len(tasks), name)
    return [run.pictures / name for name in tasks if (run.pictures / name).is_file()]


def _write_report(path: Path, predictions: Predictions) -> None:
    """Write the classification report as text and as JSON."""
    files.write_text(path, report(predictions, as_text=True))
    files.write_json(path.with_suffix(".json"), report(predictions))


def _history(run: RunFolder) -> epochs.Columns:
    try:
        with run.history.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {name: np.array([float(row[name] or math.nan) for row in rows]) for name in rows[0]}
    except (OSError, ValueError, IndexError, TypeError) as error:
        raise RunError(f"{run.history}: expected a row for each epoch, cannot be read ({error})") from error
