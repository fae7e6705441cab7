"""Classification of an unlabelled csv of faces, in the format of Kaggle's FER2013 challenge."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from feredge.api.cancel import Cancel, cancellable
from feredge.api.predictor_options import PredictorOptions
from feredge.progress import Progress, quiet


@dataclass(frozen=True)
class SubmitResult:
    """The csv that was written, and its number of rows."""

    path: Path
    rows: int


def submit(
    data: str | PathLike[str],
    *,
    out: str | PathLike[str],
    model: str | PathLike[str] | None = None,
    threads: int | None = None,
    skip_bad_rows: bool = False,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> SubmitResult:
    """Write `id,emotion` for every row of a FER2013 csv; emotions are FER2013's numbers, 0 to 6.

    Args:
        data: csv with the column `pixels` and optionally `id`.
        out: path of the csv to write.
        model: as in `PredictorOptions`, with FER2013's seven classes.
        threads: number of CPU threads; all cores by default.
        skip_bad_rows: skip invalid rows.
        progress: called between batches.
        cancel: polled between batches.

    Raises:
        ArtifactError: a model of other classes, or no model.
        DataError: not such a csv, or the same file as `out`.
        Cancelled: `cancel` returned True.
    """
    from feredge.label.submit import submit as write_submission

    with PredictorOptions(model, threads).open(reads_pictures=False) as predictor:
        rows = write_submission(
            predictor,
            Path(data),
            Path(out),
            skip_bad_rows=skip_bad_rows,
            progress=cancellable(progress, cancel),
        )
    return SubmitResult(Path(out), rows)
