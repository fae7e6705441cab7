"""Classification of the faces in pictures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feredge.api.cancel import Cancel, cancellable
from feredge.api.dataframe import to_dataframe
from feredge.api.predictor_options import DEFAULT_OPTIONS, PredictorOptions
from feredge.errors import PictureError
from feredge.progress import Progress, quiet

if TYPE_CHECKING:
    import pandas

    from feredge.inference.face import Face
    from feredge.inference.predictor import Predictor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PicturePrediction:
    """The faces in one picture, or the reason why it could not be used."""

    picture: str
    faces: tuple[Face, ...]
    error: str | None = None


@dataclass(frozen=True)
class PredictResult:
    """The pictures' predictions, in order, and the network's class names."""

    pictures: tuple[PicturePrediction, ...]
    classes: tuple[str, ...]

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per face, and one per picture without any; columns as in the tables of `feredge.label`."""
        rows: list[dict[str, Any]] = []
        for one in self.pictures:
            for face in one.faces:
                box = dict(zip(("x", "y", "width", "height"), face.box or [None] * 4, strict=True))
                scores = {f"p_{name}": score for name, score in face.probabilities.items()}
                rows.append(
                    {"picture": one.picture, "label": face.label, "confidence": face.confidence, **box, **scores}
                )
            if not one.faces:
                rows.append({"picture": one.picture, "error": one.error or "no face found"})
        return to_dataframe(rows)


def predict(
    pictures: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    lists: Sequence[str | PathLike[str]] = (),
    options: PredictorOptions = DEFAULT_OPTIONS,
    annotate: str | PathLike[str] | None = None,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> PredictResult:
    """Classify the expressions of the faces in pictures; for very many, `feredge.label` writes a table.

    Args:
        pictures: files and folders.
        lists: text files with one picture path per line.
        options: the model, and how faces are detected.
        annotate: folder for copies with boxes and labels.
        progress: called after each picture.
        cancel: polled after each picture.

    Raises:
        PictureError: no pictures; the error of a picture that cannot be used is in the result.
        ArtifactError: a model that is missing or damaged.
        Cancelled: `cancel` returned True.
    """
    progress = cancellable(progress, cancel)
    results = []
    with options.open() as predictor:
        names = list_pictures(pictures, lists=lists, annotate=annotate)
        for done, prediction in enumerate(stream_predictions(predictor, names, options, annotate=annotate), start=1):
            results.append(prediction)
            progress("pictures", done, len(names))
        return PredictResult(tuple(results), predictor.classes)


def list_pictures(
    pictures: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    lists: Sequence[str | PathLike[str]] = (),
    annotate: str | PathLike[str] | None = None,
) -> list[str]:
    """Return the paths of all pictures in files, folders and lists, except those in `annotate`; log skipped files.

    Raises:
        PictureError: no pictures.
    """
    from feredge.label.sources import describe_skipped
    from feredge.label.sources import list_pictures as list_sources

    paths = [pictures] if isinstance(pictures, str | PathLike) else pictures
    skipped = Counter[str]()
    exclude = None if annotate is None else Path(annotate)
    names = list_sources(paths, lists=[Path(path) for path in lists], exclude=exclude, skipped=skipped)
    if skipped:
        logger.warning("%s", describe_skipped(skipped))
    return names


def stream_predictions(
    predictor: Predictor,
    pictures: Sequence[str],
    options: PredictorOptions,
    *,
    annotate: str | PathLike[str] | None = None,
) -> Iterator[PicturePrediction]:
    """Yield each picture's prediction as soon as it is complete, in order; arguments as in `predict`."""
    from feredge.label.draw import AnnotatedFolder

    folder = None if annotate is None else AnnotatedFolder(Path(annotate), list(pictures))
    answers = predictor.stream(pictures, detect=options.detects_faces(predictor), margin=options.margin)
    for picture, answer in zip(pictures, answers, strict=True):
        if folder is not None:
            folder.add(picture, answer)
        if isinstance(answer, PictureError):
            yield PicturePrediction(picture, (), str(answer))
        else:
            yield PicturePrediction(picture, tuple(answer))
