"""Plots of a trained run."""

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
    """The plots' files, and their folder."""

    folder: Path
    files: tuple[Path, ...]


def plots(
    run: str | PathLike[str],
    *,
    data: DataSource | None = None,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> PlotsResult:
    """Draw a trained run's learning curves, confusion matrix, ROC curves and faces; write a classification report.

    Args:
        run: a trained run.
        data: the run's data, if moved since training.
        progress: called after each plot.
        cancel: polled after each plot.

    Raises:
        RunError: not a trained run, or other data than it was trained on.
        Cancelled: `cancel` returned True.
    """
    from feredge.plots import draw

    folder = RunFolder.open(require(run, RunPath).path, trained=True)
    drawn = draw(folder, run_dataset(folder, data), progress=cancellable(progress, cancel))
    return PlotsResult(folder.pictures, tuple(drawn))
