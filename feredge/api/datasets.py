"""Data sets: reading, counts and checks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from feredge.api.dataframe import to_dataframe

if TYPE_CHECKING:
    import pandas

    from feredge.data import CheckResult, Dataset, Summary
    from feredge.recipes.schema import DataView
    from feredge.run import RunFolder

    DataSource = str | PathLike[str] | Dataset
    """A csv, a folder with one subfolder per class, `drawn:N`, or a Dataset."""

logger = logging.getLogger(__name__)
IMAGE_SIZE = 48  # pixels per side, as in FER2013
ClassNames = Literal["source", "fer2013"]


@dataclass(frozen=True)
class DataInfo:
    """Image counts of a data set by split and class."""

    summary: Summary

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per split and class: `split`, `class`, `images`."""
        return to_dataframe(
            ({"split": split, "class": name, "images": count} for split, name, count in self._counts()),
            ("split", "class", "images"),
        )

    def _counts(self) -> list[tuple[str, str, int]]:
        counts = self.summary.counts
        return [(split, name, counts[split][name]) for split in counts for name in counts[split]]


def data_info(
    data: DataSource,
    *,
    picture: str | PathLike[str] | None = None,
    class_names: ClassNames = "source",
    skip_bad_rows: bool = False,
) -> DataInfo:
    """Count a data set's images by split and class.

    Args:
        data: a csv, a folder with one subfolder per class, or `drawn:N`.
        picture: path of a picture to write, with one image of each class, in the format of its suffix.
        class_names: `fer2013` maps classes named 0 to 6, anger, happiness, ... to FER2013's.
        skip_bad_rows: skip invalid csv rows and report how many there were.

    Raises:
        DataError: not a data set, or an unknown picture format.
    """
    from feredge.data import summarize, write_sample_grid

    dataset = _named(load_dataset(data, skip_bad_rows=skip_bad_rows), class_names)
    if picture is not None:
        in_color = dataset.pictures is not None and dataset.pictures.color_share > 0.0
        shown = load_dataset(data, channels=3, skip_bad_rows=skip_bad_rows) if in_color else dataset
        write_sample_grid(_named(shown, class_names), Path(picture))
    return DataInfo(summarize(dataset))


def data_check(data: DataSource, *, class_names: ClassNames = "source", skip_bad_rows: bool = False) -> CheckResult:
    """Find duplicates, conflicting labels and constant images; arguments as in `data_info`.

    Raises:
        DataError: not a data set.
    """
    from feredge.data import check

    return check(_named(load_dataset(data, skip_bad_rows=skip_bad_rows), class_names))


def load_dataset(
    data: DataSource,
    *,
    size: int = IMAGE_SIZE,
    channels: int = 1,
    votes: str | PathLike[str] | None = None,
    skip_bad_rows: bool = False,
) -> Dataset:
    """Return a data set, read with images of `size` pixels per side and `channels` unless it is a Dataset.

    Raises:
        DataError: not a data set.
    """
    from feredge.data import Dataset, load

    if isinstance(data, Dataset):
        return data
    path = None if votes is None else Path(votes)
    return load(str(data), size=size, channels=channels, votes=path, skip_bad_rows=skip_bad_rows)


def load_training_set(
    data: DataSource, view: DataView, *, leave_out: str | PathLike[str] | Sequence[int] | None, skip_bad_rows: bool
) -> Dataset:
    """Return a data set to train on; log bad rows, ignored files, unused colour and classes without training images."""
    from feredge.data import color_note, ignored_files_line, summarize, untrained_classes_line

    dataset = load_dataset(data, size=view.size, channels=view.channels, skip_bad_rows=skip_bad_rows)
    if note := color_note(dataset.pictures, view.channels):
        logger.warning("%s", note)
    if dataset.skipped:
        logger.warning("%d bad rows skipped", dataset.skipped)
    counts = summarize(dataset)
    if counts.left_out:
        logger.warning("%s", ignored_files_line(counts.left_out))
    if counts.untrained_classes:
        logger.warning("%s", untrained_classes_line(counts.untrained_classes))
    return without_rows(dataset, leave_out)


def without_rows(dataset: Dataset, rows: str | PathLike[str] | Sequence[int] | None) -> Dataset:
    """Return a data set with `rows` (numbers, or a file of them) excluded from training and validation."""
    from feredge.data import exclude_rows, read_row_numbers

    if rows is None:
        return dataset
    return exclude_rows(dataset, read_row_numbers(Path(rows)) if isinstance(rows, str | PathLike) else rows)


def run_dataset(run: RunFolder, data: DataSource | None, *, votes: str | PathLike[str] | None = None) -> Dataset:
    """Return the data of a run, read from `data` if given.

    Raises:
        RunError: other data than it was trained on.
    """
    from feredge.data import Dataset

    if isinstance(data, Dataset):
        run.check_data(data)
        return run.exclude_rows(data)
    return run.load_data(None if data is None else str(data), votes=None if votes is None else Path(votes))


def _named(dataset: Dataset, class_names: ClassNames) -> Dataset:
    from feredge.data import fer2013_classes

    return fer2013_classes(dataset) if class_names == "fer2013" else dataset
