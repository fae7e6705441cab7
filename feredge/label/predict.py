"""Classifies the faces in many pictures, into a resumable table."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from feredge import files
from feredge.inference.face import PictureResult
from feredge.inference.face_detection import Detector, YuNet
from feredge.inference.predictor import Predictor
from feredge.label.table import Job, Table, TableState
from feredge.progress import Progress, quiet

Engine = Callable[[Sequence[str]], Iterable[PictureResult]]
"""Maps paths to an iterable of their results, in order."""


def predict_pictures(
    predictor: Predictor,
    pictures: Sequence[str],
    table: Path,
    *,
    detect: bool = True,
    margin: float = 0.0,
    engine: Engine | None = None,
    on_result: Callable[[str, PictureResult], None] | None = None,
    progress: Progress = quiet,
) -> TableState:
    """Write a row for every face in `pictures` to a csv or Parquet table, in order.

    The same call resumes an interrupted one: after Ctrl-C nothing is repeated, after a kill at most the last second.
    A picture that cannot be used becomes a row with its error.

    Args:
        predictor: classifies the faces.
        pictures: paths.
        table: `.csv`, or `.parquet` if pyarrow is installed. An existing table is replaced at the end.
        detect: detect the faces in each picture; otherwise each picture is one face.
        margin: fraction by which the square around each detected face is enlarged.
        engine: runs the pictures instead of this process's threads; see `feredge.label.ray_engine.engine`.
        on_result: called with every path and its result, before the result is written.
        progress: called with the number of pictures done.

    Returns:
        The numbers of pictures, faces and failures in the table, including those of interrupted calls.

    Raises:
        RunError: an unfinished table that belongs to another job.
        ArtifactError: the network failed.
    """
    settings = {"model": files.sha256(predictor.path), "find": detect, "margin": margin}
    if detect:
        settings["detector"] = _detector_id(predictor.detector)
    if predictor.threshold:
        settings["threshold"] = predictor.threshold
    job = Job(pictures, predictor.classes, settings)
    with Table(table, job) as out:
        remaining = pictures[out.state.pictures :]
        for result in engine(remaining) if engine else predictor.stream(remaining, detect=detect, margin=margin):
            done = out.state.pictures + 1
            if on_result is not None:
                on_result(pictures[done - 1], result)
            out.add(result)
            progress("pictures", done, len(pictures), os.path.basename(pictures[done - 1]))  # noqa: PTH119
        out.finish()
    return out.state


def _detector_id(detector: Detector) -> str:
    """Return an identifier of a detector that is the same in every process: without addresses and paths."""
    if isinstance(detector, YuNet):
        return repr(detector).replace(repr(detector.path), files.sha256(detector.path))
    return f"{getattr(detector, '__module__', '')}: {re.sub(' at 0x[0-9a-fA-F]+', '', repr(detector))}"
