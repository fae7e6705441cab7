"""Options of the Predictor, shared by `predict`, `label`, `track`, `submit` and `serve`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feredge.inference.foreign import ForeignModel
    from feredge.inference.predictor import Predictor


@dataclass(frozen=True)
class PredictorOptions:
    """Options of the Predictor.

    Attributes:
        model: a model file, a folder of exported files, a run folder or a name of `feredge.models()`; None for
            the built-in nano.
        threads: number of CPU threads; None for all cores.
        cropped: classify each picture as a whole; False detects the faces in it. None detects them for models of faces,
            by their cards.
        margin: fraction by which the square around each detected face is enlarged.
        yunet: a YuNet file for face detection; None for OpenCV's Haar cascade.
        classes: class names of a model file that feredge did not write, in the order of its outputs.
        input_range: input values of black and white pixels of such a file.
        output: name of the output of such a file, if it has several.
        unsure: label faces `unsure` below the confidence that `feredge calibrate` stored for this precision, such as
            0.95; True for 0.9.
    """

    model: str | PathLike[str] | None = None
    threads: int | None = None
    cropped: bool | None = None
    margin: float = 0.0
    yunet: str | PathLike[str] | None = None
    classes: tuple[str, ...] = ()
    input_range: tuple[float, float] = (0.0, 1.0)
    output: str = ""
    unsure: float | bool = False

    @property
    def foreign(self) -> ForeignModel | None:
        """Classes, input range and output of a file that feredge did not write; None without classes."""
        from feredge.inference.foreign import ForeignModel

        return ForeignModel(tuple(self.classes), self.input_range, self.output) if self.classes else None

    def detects_faces(self, predictor: Predictor) -> bool:
        """Return whether faces are detected in each picture."""
        return predictor.card.faces if self.cropped is None else not self.cropped

    def open(self, *, reads_pictures: bool = True) -> Predictor:
        """Return the Predictor; close it, or use it as a context manager.

        Raises:
            ArtifactError: a model or YuNet file that is missing or damaged.
            PictureError: OpenCV is needed and cannot be imported: one error instead of one per picture.
        """
        # Damaged pictures are reported with their names; OpenCV and FFmpeg would print messages of their own.
        os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        from feredge.inference.pictures import opencv
        from feredge.inference.predictor import Predictor

        if reads_pictures:
            opencv()
        return Predictor(
            self.model,
            threads=self.threads,
            detector=self.yunet,
            classes=self.classes,
            input_range=self.input_range,
            output=self.output,
            unsure=self.unsure,
        )


DEFAULT_OPTIONS = PredictorOptions()
