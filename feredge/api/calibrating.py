"""Thresholds below which a file's prediction is `unsure`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from feredge.api.cancel import Cancel, cancellable
from feredge.api.dataframe import to_dataframe
from feredge.api.datasets import load_dataset, run_dataset
from feredge.errors import DataError, RunError
from feredge.inference.artifact import Entry, Manifest
from feredge.paths import ExportPath, RunPath, require
from feredge.progress import Progress, quiet
from feredge.run import RunFolder

if TYPE_CHECKING:
    import pandas

    from feredge.api.datasets import DataSource
    from feredge.data import Dataset
    from feredge.inference.abstention import FileThresholds

DEFAULT_PRECISIONS = (0.8, 0.9, 0.95)


@dataclass(frozen=True, eq=False)
class CalibrateResult:
    """The thresholds of each file, by its SHA-256, and the file that they were written to."""

    thresholds: Mapping[str, FileThresholds]
    path: Path

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per file and precision."""
        columns = ("file", "images", "precision", "threshold", "coverage", "lower_bound")
        return to_dataframe(
            (
                dict(zip(columns, (table.file, table.images, *vars(level).values()), strict=True))
                for table in self.thresholds.values()
                for level in table.levels
            ),
            columns,
        )


def calibrate(
    target: str | PathLike[str],
    *,
    precisions: Sequence[float] = DEFAULT_PRECISIONS,
    data: DataSource | None = None,
    images: DataSource | None = None,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> CalibrateResult:
    """Choose for each exported file the confidence below which its prediction is `unsure`.

    Each threshold promises a precision of the predictions above it: on images like those that it was chosen on, the
    fraction of correct ones is at least the precision, with a probability of 95%. Chosen are they on the run's
    validation images, unless these chose the weights or layers, or on `images`. `thresholds.json` beside the files has
    them; `Predictor(..., unsure=0.9)` applies them.

    Args:
        target: a run folder, a folder of exported files or a name of `feredge.models()`.
        precisions: the promised precisions, between 0 and 1.
        data: the run's data, if moved since training.
        images: labelled images that the network was not trained on, all of which are used; required if `target` is not
            a run folder.
        progress: called between files.
        cancel: polled between files.

    Raises:
        RunError: another path, or no validation images that chose nothing else.
        DataError: no data, the training data as `images`, or a precision that is not between 0 and 1.
        ArtifactError: damaged or changed files.
        Cancelled: `cancel` returned True.
    """
    for precision in precisions:
        if not 0 < precision < 1:
            raise DataError(f"expected precisions between 0 and 1, found {precision:g}")
    place = require(target, RunPath, ExportPath)
    run = RunFolder.open(place.path, trained=True, exported=True) if isinstance(place, RunPath) else None
    folder = place.path if run is None else run.artifacts
    if run is None and images is None:
        raise RunError(f"{folder}: expected labelled images (--images), because it is not a run folder; found none")
    from feredge.benchmark.thresholds import calibrate_files, validation_images
    from feredge.inference.abstention import write_thresholds

    with nullcontext() if run is None else run.lock():
        entries = Manifest.read(folder).entries
        if images is not None:
            images_of = _all_images(images)
        else:
            assert run is not None
            images_of = partial(validation_images, run_dataset(run, data), run.recipe())
        thresholds = calibrate_files(
            folder, entries, images_of, tuple(precisions), progress=cancellable(progress, cancel)
        )
        return CalibrateResult(thresholds, write_thresholds(folder, thresholds))


def _all_images(source: DataSource) -> Callable[[Entry], Dataset]:
    from feredge import dataclass_io
    from feredge.benchmark.thresholds import labelled_images
    from feredge.recipes.schema import DataView

    load = cache(lambda size, channels: load_dataset(source, size=size, channels=channels))

    def images_of(entry: Entry) -> Dataset:
        view = dataclass_io.read(DataView, entry.card.recipe.get("data", {}), entry.file)
        contract = entry.card.contract
        return labelled_images(load(contract.height, contract.channels), entry, view)

    return images_of
