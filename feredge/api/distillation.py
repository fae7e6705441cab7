"""Soft labels of the training images, for distillation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from feredge.api.cancel import Cancel, cancellable
from feredge.api.datasets import load_dataset, run_dataset, without_rows
from feredge.errors import DataError
from feredge.paths import RunPath, require
from feredge.progress import Progress, quiet
from feredge.run import RunFolder

if TYPE_CHECKING:
    from feredge.api.datasets import DataSource


@dataclass(frozen=True)
class SoftLabelsResult:
    """A file of soft labels.

    Attributes:
        path: the file.
        images: number of labelled images.
        networks: number of averaged networks.
        votes: whether FER+ votes are part of the average.
    """

    path: Path
    images: int
    networks: int
    votes: bool


def soft_labels(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    *,
    out: str | PathLike[str],
    votes: str | PathLike[str] | None = None,
    data: DataSource | None = None,
    leave_out: str | PathLike[str] | Sequence[int] | None = None,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> SoftLabelsResult:
    """Average the logits of trained runs on the training images and their mirror images, for `feredge.train`.

    Args:
        runs: trained run folders.
        out: path of the file, `.npz`.
        votes: FER+ votes for the images of the csv (`fer2013new.csv`), averaged as if they were one more run.
        data: the runs' data, if moved since training; required if no run is given.
        leave_out: row numbers, or a file of them, to exclude from training and validation.
        progress: called after each run.
        cancel: polled after each run.

    Raises:
        DataError: neither a run nor votes and data.
        RunError: not a trained run, or runs that cannot be averaged.
        Cancelled: `cancel` returned True.
    """
    paths = [runs] if isinstance(runs, str | PathLike) else runs
    folders = [RunFolder.open(require(path, RunPath).path, trained=True) for path in paths]
    if folders:
        dataset = run_dataset(folders[0], data, votes=votes)
    elif votes is not None and data is not None:
        dataset = load_dataset(data, votes=votes)
    else:
        raise DataError("expected a RUN, or --votes and --data, found neither")
    dataset = without_rows(dataset, leave_out)
    from feredge.train.soft_labels import make_soft_labels

    labels = make_soft_labels(folders, dataset, progress=cancellable(progress, cancel))
    labels.write(Path(out))
    return SoftLabelsResult(Path(out), len(labels.rows), len(folders), votes is not None)
