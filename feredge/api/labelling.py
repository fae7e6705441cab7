"""Classification of the faces in many pictures into a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

from feredge import files
from feredge.api.cancel import Cancel, cancellable
from feredge.api.predicting import list_pictures
from feredge.api.predictor_options import DEFAULT_OPTIONS, PredictorOptions
from feredge.progress import Progress, quiet

RAY_WORKERS = 2


@dataclass(frozen=True)
class LabelResult:
    """A table of labels.

    Attributes:
        table: path of the table.
        pictures: number of pictures in it.
        faces: number of labelled faces.
        failed: number of pictures that could not be used; the table has the reasons.
    """

    table: Path
    pictures: int
    faces: int
    failed: int


def label(
    pictures: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    *,
    out: str | PathLike[str],
    lists: Sequence[str | PathLike[str]] = (),
    options: PredictorOptions = DEFAULT_OPTIONS,
    annotate: str | PathLike[str] | None = None,
    engine: Literal["threads", "ray"] = "threads",
    workers: int = RAY_WORKERS,
    address: str | None = None,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> LabelResult:
    """Classify the faces in pictures into a table with one row per face; after an interruption, the same call resumes.

    Args:
        pictures: files and folders.
        out: path of the table: `.csv`, or `.parquet` with pyarrow.
        lists: text files with one picture path per line.
        options: the model, and how faces are detected.
        annotate: folder for copies with boxes and labels.
        engine: `threads` of this process, or `ray`.
        workers: number of Ray processes.
        address: address of a Ray cluster; by default a local one is started.
        progress: called after each picture.
        cancel: polled after each picture.

    Raises:
        PictureError: no pictures.
        ArtifactError: a model that is missing or damaged.
        RunError: an unfinished table of another job, or Ray is not available.
        Cancelled: `cancel` returned True.
    """
    from feredge.label.draw import AnnotatedFolder
    from feredge.label.predict import predict_pictures

    table = Path(out)
    files.check_target(table)  # before large folders are listed
    with options.open() as predictor:
        names = list_pictures(pictures, lists=lists, annotate=annotate)
        folder = None if annotate is None else AnnotatedFolder(Path(annotate), names)
        run = None
        if engine == "ray":
            from feredge.label import ray_engine

            run = ray_engine.engine(
                predictor,
                workers=workers,
                address=address,
                detect=options.detects_faces(predictor),
                margin=options.margin,
            )
        state = predict_pictures(
            predictor,
            names,
            table,
            detect=options.detects_faces(predictor),
            margin=options.margin,
            engine=run,
            on_result=None if folder is None else folder.add,
            progress=cancellable(progress, cancel),
        )
    return LabelResult(table, state.pictures, state.faces, state.failed)
