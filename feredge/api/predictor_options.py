"""How pictures are classified: the options that `predict`, `label`, `track`, `submit` and `serve` share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feredge.inference.predictor import Predictor


@dataclass(frozen=True)
class PredictorOptions:
    """How pictures are classified.

    Attributes:
        model: a model file, a folder of exported files, a run folder or a name of `feredge.models()`; None for the
            network that comes with feredge.
        threads: CPU threads; every core if None.
        cropped: each picture is one face; no faces are detected in it.
        margin: share by which the square around each detected face is enlarged.
        yunet: a YuNet file to detect faces with; None for OpenCV's Haar cascade.
    """

    model: str | PathLike[str] | None = None
    threads: int | None = None
    cropped: bool = False
    margin: float = 0.0
    yunet: str | PathLike[str] | None = None

    def open(self, *, reads_pictures: bool = True) -> Predictor:
        """Return the Predictor; close it, or use it as a context manager.

        Raises:
            ArtifactError: a model or YuNet file that is missing or damaged.
            PictureError: OpenCV is needed and cannot be imported: one error in place of one a picture.
        """
        # A damaged picture is reported with its name; OpenCV and FFmpeg would print their own lines.
        os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        from feredge.inference.pictures import opencv
        from feredge.inference.predictor import Predictor

        if reads_pictures:
            opencv()
        return Predictor(self.model, threads=self.threads, detector=self.yunet)


DEFAULT_OPTIONS = PredictorOptions()
