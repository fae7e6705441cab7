"""Training of a network by a recipe."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feredge.api.auto import AUTO_RECIPE, choose_recipe, start_model
from feredge.api.cancel import Cancel, cancellable
from feredge.api.dataframe import to_dataframe
from feredge.api.datasets import load_training_set
from feredge.errors import DataError, RunError
from feredge.progress import Progress, quiet
from feredge.recipes import load as load_recipe
from feredge.run import RunFolder

if TYPE_CHECKING:
    import pandas

    from feredge.api.datasets import DataSource
    from feredge.data import Dataset
    from feredge.recipes.schema import Recipe

logger = logging.getLogger(__name__)
Overrides = Mapping[str, object] | Sequence[str]
"""Recipe settings by `section.key`: `{"training.epochs": 5}`, or strings as in `--set`."""


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training beside its recipe and data.

    Attributes:
        keep_duplicates: train on images that have a duplicate in a test split.
        leave_out: row numbers, or a file of them, to exclude from training and validation.
        soft_labels: a file of `feredge.soft_labels`, for distillation.
        teachers: trained runs, folders of exported files or names of `feredge.models()`, for online distillation on
            each augmented batch.
        start_from: a trained run, a folder of exported files or a name, whose weights the training starts with.
        skip_bad_rows: skip invalid csv rows and report how many there were.
    """

    keep_duplicates: bool = False
    leave_out: str | PathLike[str] | Sequence[int] | None = None
    soft_labels: str | PathLike[str] | None = None
    teachers: Sequence[str | PathLike[str]] = ()
    start_from: str | PathLike[str] | None = None
    skip_bad_rows: bool = False


DEFAULT_OPTIONS = TrainOptions()


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A trained run.

    Attributes:
        run: the run folder.
        dataset: the data it was trained on.
        accuracy: fraction of the test images that the float model classifies correctly; None without test images.
        test_images: number of test images.
    """

    run: RunFolder
    dataset: Dataset
    accuracy: float | None
    test_images: int

    def to_dataframe(self) -> pandas.DataFrame:
        """Return the training history: one row per epoch, columns as in `history.csv`."""
        import csv

        with self.run.history.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return to_dataframe({key: float(value or "nan") for key, value in row.items()} for row in rows)


def train(
    recipe: str | PathLike[str],
    data: DataSource,
    *,
    out: str | PathLike[str] | None = None,
    overrides: Overrides = (),
    options: TrainOptions = DEFAULT_OPTIONS,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> TrainResult:
    """Train a network; after an interruption, the same call resumes after the last complete epoch.

    Args:
        recipe: a name of `feredge.recipes()`, or a `.toml` file; `auto` chooses settings from the data and logs them.
        data: a FER2013 csv, a folder with one subfolder per class, or `drawn:N`.
        out: the run folder; `runs/RECIPE` by default.
        overrides: recipe settings that replace the file's.
        options: excluded and skipped images, distillation, initial weights.
        progress: called between steps.
        cancel: polled between steps.

    Raises:
        RecipeError: an unknown recipe, or an invalid setting.
        DataError: not a data set, or too small a one.
        RunError: `out` belongs to something else, or the loss is no longer finite.
        Cancelled: `cancel` returned True.
    """
    settings = [*override_texts(overrides), *(["data.drop_duplicates=false"] if options.keep_duplicates else [])]
    folder = None if out is None else Path(out)
    if str(recipe) == AUTO_RECIPE:
        folder = folder or Path("runs") / AUTO_RECIPE
        resolved = _stored_auto_recipe(folder, settings) or choose_recipe(
            data, settings, options, progress=cancellable(progress, cancel)
        )
    else:
        resolved = load_recipe(Path(recipe), overrides=settings)  # before the slow imports
    soft_labels = None if options.soft_labels is None else Path(options.soft_labels)
    if soft_labels is not None:
        _check_readable(soft_labels)
    dataset = load_training_set(data, resolved.data, leave_out=options.leave_out, skip_bad_rows=options.skip_bad_rows)
    from feredge.importing import from_onnx

    start_from = options.start_from or start_model(resolved)
    start = None if start_from is None else from_onnx.load_trained(Path(start_from))
    teachers = [from_onnx.load_trained(Path(teacher)) for teacher in options.teachers]
    from feredge.train import train as fit

    run = fit(
        resolved,
        dataset,
        folder or Path("runs") / resolved.name,
        soft_labels=soft_labels,
        start=start,
        teachers=teachers,
        progress=cancellable(progress, cancel),
    )
    _warn_if_uninformed(run)
    test: dict[str, Any] = run.training_record().get("test") or {"accuracy": None, "images": 0}
    return TrainResult(run, dataset, test["accuracy"], test["images"])


def _stored_auto_recipe(folder: Path, settings: Sequence[str]) -> Recipe | None:
    """Return the settings that were chosen when the run in `folder` began; None for a new folder.

    Raises:
        RunError: the run of another recipe.
    """
    stored = RunFolder(folder).recipe_file
    if not stored.is_file():
        return None
    recipe = load_recipe(stored, overrides=settings)
    if recipe.name != AUTO_RECIPE:
        raise RunError(f"{folder}: belongs to another recipe ({recipe.name}); choose another folder")
    return recipe


def _warn_if_uninformed(run: RunFolder) -> None:
    """Log a warning if the validation accuracy is within two 95% intervals of the most frequent class's share."""
    counts = (run.data().get("splits") or {}).get("validation") or {}
    validation = run.training_record().get("validation")
    if not validation or not sum(counts.values()):
        return
    accuracy, images = validation["accuracy"], validation["images"]
    majority = max(counts.values()) / sum(counts.values())
    interval = 1.96 * math.sqrt(majority * (1 - majority) / images)
    if accuracy < majority + 2 * interval:
        logger.warning(
            "the validation accuracy, %.1f%% of %d images, is hardly above the most frequent class's share, %.1f%%; "
            "try `feredge train auto`, more training.epochs, another training.learning_rate, data.channels=3 if colour "
            "matters, or `feredge data check` for wrong labels",
            100 * accuracy,
            images,
            100 * majority,
        )


def override_texts(overrides: Overrides) -> list[str]:
    """Return recipe settings as `section.key=value`, with TOML values."""
    if isinstance(overrides, Mapping):
        return [f"{key}={json.dumps(value)}" for key, value in overrides.items()]  # for these types JSON is valid TOML
    return list(overrides)


def _check_readable(path: Path) -> None:
    """Raise DataError for a file of soft labels that cannot be read."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"{path}: expected a file of soft labels, cannot be read ({error})") from error
