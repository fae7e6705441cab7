"""Naming the expressions in hundreds of thousands of pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from feredge import files
from feredge.inference.face import PictureResult
from feredge.inference.face_detection import Detector, YuNet
from feredge.inference.predictor import Predictor
from feredge.label.table import Job, State, Table
from feredge.progress import Progress, quiet

Engine = Callable[[Sequence[str]], Iterable[PictureResult]]
"""Takes paths, gives for each its faces or its error, in their order."""


def label(
    predictor: Predictor,
    pictures: Sequence[str],
    table: Path,
    *,
    detect: bool = True,
    margin: float = 0.0,
    engine: Engine | None = None,
    each: Callable[[str, PictureResult], None] | None = None,
    progress: Progress = quiet,
) -> State:
    """Write a row for every face in `pictures` into a csv or Parquet table, in order.

    Stopped in any way, the same call goes on where it was: after Ctrl-C nothing is done twice, after a kill at most
    the last second. A picture that cannot be used is a row with its error.

    Args:
        predictor: what names them.
        pictures: paths.
        table: `.csv`, or `.parquet` where pyarrow is installed. A table that stands is replaced at the end.
        find: look for faces; otherwise each picture is one face.
        margin: share by which the square around each found face is enlarged.
        engine: what runs the pictures instead of this process's threads, as `feredge.label.on_ray.engine` gives it.
        each: called with every path and its answer, before the answer enters the table.
        progress: called with the pictures done.

    Returns:
        How many pictures, faces and failures are in the table, those of earlier starts included.

    Raises:
        RunError: a part of the table that belongs to another job.
        ArtifactError: the network failed.
    """
    settings = {"model": files.sha256(predictor.path), "find": detect, "margin": margin}
    if detect:
        settings["detector"] = _identity(predictor.detector)
    job = Job(pictures, predictor.classes, settings)
    with Table(table, job) as out:
        left = pictures[out.state.pictures :]
        for answer in engine(left) if engine else predictor.stream(left, detect=detect, margin=margin):
            done = out.state.pictures + 1
            if each is not None:
                each(pictures[done - 1], answer)
            out.add(answer)
            progress("pictures", done, len(pictures), os.path.basename(pictures[done - 1]))  # noqa: PTH119
        out.finish()
    return out.state


def _identity(detector: Detector) -> str:
    """Return what tells a detector from others, and is the same in every process: no address, no path."""
    if isinstance(detector, YuNet):
        return repr(detector).replace(repr(detector.path), files.sha256(detector.path))
    return f"{getattr(detector, '__module__', '')}: {re.sub(' at 0x[0-9a-fA-F]+', '', repr(detector))}"
