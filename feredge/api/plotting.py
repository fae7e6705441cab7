"""The pictures of a trained run."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from feredge.api.cancel import Cancel, cancellable
from feredge.api.datasets import run_dataset
from feredge.paths import RunPath, require
from feredge.progress import Progress, quiet
from feredge.run import RunFolder

if TYPE_CHECKING:
    from feredge.api.datasets import DataSource


@dataclass(frozen=True)
class PlotsResult:
    """The files that were drawn, and their folder."""

    folder: Path
    files: tuple[Path, ...]


def plots(
    run: str | PathLike[str],
    *,
    data: DataSource | None = None,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> PlotsResult:
    """Draw a trained run's curves, confusion matrix, scores, faces and mistakes, with a classification report.

    Args:
        run: a trained run.
        data: where its data are, if they have moved.
        progress: called after each picture.
        cancel: polled after each picture.

    Raises:
        RunError: not a trained run, or other data than it was trained on.
        Cancelled: `cancel` returned True.
    """
    from feredge.plots import draw

    folder = RunFolder.open(require(run, RunPath).path, trained=True)
    drawn = draw(folder, run_dataset(folder, data), progress=cancellable(progress, cancel))
    return PlotsResult(folder.pictures, tuple(drawn))
