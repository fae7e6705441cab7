"""The Predictor: classifies the facial expressions in pictures with an exported network."""

from __future__ import annotations

import dataclasses
import io
import logging
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from feredge.errors import ArtifactError, PictureError
from feredge.inference.artifact import Card
from feredge.inference.contract import InputContract
from feredge.inference.face import UNSURE_LABEL, Face, PictureResult, PixelBox, to_faces
from feredge.inference.foreign import ForeignModel
from feredge.inference.model_session import CHUNK_SIZE, ModelSession
from feredge.inference.pictures import Box, Color, Images, Picture, pixels_and_order, to_box
from feredge.inference.runtimes import Probabilities, open_checked

if TYPE_CHECKING:  # imported on first need: classifying a single face in a new process does not need it
    from feredge.inference import face_detection

logger = logging.getLogger(__name__)


class Predictor:
    """Classifies one face, a batch of faces, or the faces in a frame with an exported network.

    Thread-safe. After a fork the child reopens the model on its first call. Close it, or use it as a context manager,
    to release threads and memory at a known time.

        predictor = Predictor()
        predictor("face.png").label

    The file is opened in this process. Before the runtime loads it, its structure is checked: sizes, offsets and names
    of a flatbuffer, allowed operators only, for ONNX no control flow and no external weights, cards of at most 1 MB.
    The runtime is trusted: that its kernels stay within their tensors, and that memory and time suffice for the
    network. `feredge inspect FILE` opens a file of unknown origin in a process with limits.

    Args:
        model: an `.onnx`, `.ort` or `.tflite` file with feredge's metadata (its card); or a folder of exported files,
            of which an int8 file is chosen (ONNX before TFLite, then other precisions); or a name listed by `feredge
            models`; or None for feredge's default network. A compiled library (`.so`) of `feredge bundle --for pi`
            needs numpy alone; it is native code, which runs unchecked with all rights of this process, and is loaded
            only by its own path and with its SHA-256 in the manifest beside it. A file that is missing from the
            `manifest.json` in its folder, or has another digest there, is refused.
        threads: CPU threads per call. None uses one for a single face and all cores for a batch, because a small
            network gains little from a second thread on one face.
        providers: onnxruntime's execution providers, in order of preference.
        detector: the face detector for frames: None for OpenCV's Haar cascade, the path of a YuNet file, or a
            function as `feredge.inference.face_detection.Detector`.
        classes: class names of an `.onnx` or `.tflite` file that feredge did not write, in the order of its outputs; of
            a single output p two, of the probabilities 1 - p and p.
        input_range: input values of black and white pixels of such a file.
        output: name of the output of such a file, if it has several.
        unsure: label faces `unsure` whose confidence is below the file's threshold: a precision of the other faces
            that `feredge calibrate` chose a threshold for, or True for abstention.DEFAULT_PRECISION. Their
            probabilities, and `Face.likeliest`, stay available.

    Attributes:
        path: the model file.
        card: the file's metadata.
        classes: class names in the order of the probabilities.
        contract: the network's input.
        foreign: what was given for a file that feredge did not write; None for one with a card.
        unsure: as given.
        threshold: the confidence below which a face is `unsure`; 0 without `unsure`.

    Raises:
        ArtifactError: a missing or damaged model, one without a card, one whose outputs do not match its card, or one
            without a threshold for `unsure`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        threads: int | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        detector: face_detection.Detector | str | os.PathLike[str] | None = None,
        classes: Sequence[str] = (),
        input_range: tuple[float, float] = (0.0, 1.0),
        output: str = "",
        unsure: float | bool = False,
    ) -> None:
        if threads is not None and threads < 1:
            raise ArtifactError(f"expected at least 1 thread, found {threads}")
        self.foreign = ForeignModel(tuple(classes), input_range, output) if classes else None
        runner = open_checked(model, threads=threads or 1, providers=providers, foreign=self.foreign)
        self._session = ModelSession(runner.path, runner, threads=threads, providers=providers, foreign=self.foreign)
        self.path = runner.path
        self._detector = detector
        self._opened_detector: face_detection.Detector | None = None
        if detector is not None:
            self._opened_detector = self.detector  # a bad file is an error here, not at the first frame
        self.card: Card = runner.card
        self.classes: tuple[str, ...] = self.card.classes
        self.contract: InputContract = self.card.contract
        self._color_checked = self.contract.channels == 1  # the first picture of a network of colour is checked
        self.unsure = unsure
        self.threshold = self._read_threshold() if unsure else 0.0

    def __call__(self, picture: Picture, *, box: Box | None = None, margin: float = 0.0, color: Color = "bgr") -> Face:
        """Classify the expression of one face.

        Args:
            picture: a face of any size: `uint8` array `(h, w)`, `(h, w, 1)` gray, `(h, w, 3)`, `(h, w, 4)` with alpha
                last; or a picture file's path or bytes (also `bytearray`, `memoryview`, `io.BytesIO`), or a Pillow
                image.
            box: the face's position, in any form that `feredge.inference.pictures.to_box` accepts; None if the
                picture is cropped to the face.
            margin: fraction by which the square around `box` is enlarged, 0.1 for 10 %.
            color: channel order of a colour array; `yuv420` or `nv12` for a camera's planes `(h * 3/2, w)`.

        Raises:
            PictureError: an invalid picture or box, or YUV planes without their `color`.
            ArtifactError: closed, or the network failed.
        """
        runner = self._session.runner or self._session.reopen()
        pixel_box = None
        if box is not None:
            from feredge.inference import face_detection

            pixels, color = pixels_and_order(picture, color)
            pixel_box = to_box(box)
            picture = face_detection.crop_square(pixels, pixel_box, margin=margin)
        probabilities = runner.predict(self._to_tensor(picture, color)[None])
        return self._to_faces(probabilities, [pixel_box])[0]

    def batch(self, pictures: Iterable[Picture], *, color: Color = "bgr") -> list[Face]:
        """Classify a batch of faces, each a picture of any size and kind, in order.

        Raises:
            PictureError: an invalid picture; the message gives its index.
            ArtifactError: closed, or the network failed.
        """
        if isinstance(pictures, (str, bytes, bytearray, memoryview, io.IOBase, os.PathLike)):
            raise PictureError("expected many pictures, found one path or the bytes of one")
        pictures = list(pictures)
        decode = not all(isinstance(picture, np.ndarray) for picture in pictures)
        probabilities = self._session.predict_chunks(
            pictures, lambda chunk, start: self._to_batch(chunk, start, color), prepare_in_threads=decode
        )
        return self._to_faces(probabilities, [None] * len(pictures))

    def frame(
        self, picture: Picture, *, boxes: Iterable[Box] | None = None, margin: float = 0.0, color: Color = "bgr"
    ) -> list[Face]:
        """Detect the faces in a picture, or take those at `boxes`, and classify their expressions.

        Args:
            picture: as for one face.
            boxes: positions of the faces; None detects them, and returns the largest first.
            margin: fraction by which the square around each box is enlarged.
            color: channel order of a colour array.

        Returns:
            One face per box; an empty list if none is detected.
        """
        tensors, pixel_boxes = self._crop_faces(picture, boxes, margin, color)
        return self._to_faces(self._session.predict_chunks(tensors, lambda chunk, _: np.stack(chunk)), pixel_boxes)

    def stream(
        self, pictures: Iterable[Picture], *, detect: bool = False, margin: float = 0.0, color: Color = "bgr"
    ) -> Generator[PictureResult, None, None]:
        """Yield the faces in each picture, in order, or its PictureError.

        Made for hundreds of thousands of paths: reading, decoding and inference overlap on all threads, and only
        a few pictures are in memory at a time.

        Args:
            pictures: as for one face.
            detect: detect the faces in each picture, as `frame` does; otherwise each picture is one face.
            margin: fraction by which the square around each detected face is enlarged.
            color: channel order of colour arrays.

        Raises:
            ArtifactError: closed, or the network failed.
        """
        from feredge.inference.parallel import InferencePool

        remaining = iter(pictures)
        # Detection takes a hundred times as long as classification: small chunks keep every thread busy.
        size = 2 if detect else 2 * CHUNK_SIZE
        chunks = iter(lambda: list(islice(remaining, size)), [])
        with InferencePool(self._session.runners(), self._session.concurrency + 1) as pool:

            def classify(chunk: list[Picture]) -> list[PictureResult]:
                return self._classify(chunk, detect, margin, color, pool.predict)

            for results in pool.map(classify, chunks):
                yield from results

    def predict(self, batch: Images) -> Probabilities:
        """Return probabilities, `float32 (N, classes)`, for a prepared `uint8 (N, H, W, C)` batch."""
        self.contract.check_batch(batch)
        return self._session.predict_chunks(batch, lambda chunk, _: np.ascontiguousarray(chunk))

    @property
    def detector(self) -> face_detection.Detector:
        """The face detector for frames."""
        if self._opened_detector is None:
            from feredge.inference import face_detection

            self._opened_detector = face_detection.open_detector(self._detector)
        return self._opened_detector

    def close(self) -> None:
        """Release threads and memory. A closed Predictor raises ArtifactError when called."""
        self._session.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        """Pickle the arguments: the other process opens the model again."""
        state = self._session.threads, self._session.providers, self._detector, self.foreign, self.unsure
        return _unpickle, (str(self.path), *state)

    def _read_threshold(self) -> float:
        from feredge.inference.abstention import DEFAULT_PRECISION, read_threshold

        if UNSURE_LABEL in self.classes:
            raise ArtifactError(f"{self.path}: expected no class called {UNSURE_LABEL!r}, found one")
        return read_threshold(self.path, DEFAULT_PRECISION if self.unsure is True else self.unsure)

    def _to_tensor(self, picture: Picture, color: Color, out: Images | None = None) -> Images:
        tensor = self.contract.to_tensor(picture, color=color, out=out)
        if not self._color_checked:
            self._color_checked = True
            if (tensor == tensor[..., :1]).all():
                logger.warning(
                    "%s takes RGB, but the first picture is gray: a network that has learnt colours may fail on it",
                    self.path.name,
                )
        return tensor

    def _to_batch(self, pictures: Sequence[Picture], start: int, color: Color) -> Images:
        batch = np.empty((len(pictures), *self.contract.shape), np.uint8)
        for index, (picture, tensor) in enumerate(zip(pictures, batch, strict=True), start):
            try:
                self._to_tensor(picture, color, tensor)
            except PictureError as error:
                raise PictureError(f"picture {index}: {error}") from error
        return batch

    def _crop_faces(
        self, picture: Picture, boxes: Iterable[Box] | None, margin: float, color: Color
    ) -> tuple[list[Images], list[PixelBox]]:
        """Return the network's input for each face in a picture, and its box."""
        from feredge.inference import face_detection

        pixels, color = pixels_and_order(picture, color)
        if boxes is None:
            pixel_boxes = face_detection.detect(pixels, detector=self.detector, color=color)
        else:
            pixel_boxes = [to_box(box) for box in boxes]
        crops = [face_detection.crop_square(pixels, box, margin=margin) for box in pixel_boxes]
        return [self._to_tensor(crop, color) for crop in crops], pixel_boxes

    def classify(
        self, pictures: Sequence[Picture], *, detect: bool = False, margin: float = 0.0, color: Color = "bgr"
    ) -> list[PictureResult]:
        """Return the results of `stream` for a few pictures, run as one batch in the calling thread."""
        runner = self._session.runner or self._session.reopen()
        return self._classify(pictures, detect, margin, color, runner.predict)

    def _classify(
        self,
        pictures: Sequence[Picture],
        detect: bool,
        margin: float,
        color: Color,
        predict: Callable[[Images], Probabilities],
    ) -> list[PictureResult]:
        tensors: list[Images] = []
        boxes: list[PixelBox | None] = []
        face_counts: list[int | PictureError] = []  # by picture
        for picture in pictures:
            try:
                if detect:
                    picture_tensors, picture_boxes = self._crop_faces(picture, None, margin, color)
                    boxes += picture_boxes
                else:
                    picture_tensors = [self._to_tensor(picture, color)]
                    boxes.append(None)
                tensors += picture_tensors
                face_counts.append(len(picture_tensors))
            except PictureError as error:
                face_counts.append(error)
        faces = iter(self._to_faces(predict(np.stack(tensors)), boxes) if tensors else [])
        return [list(islice(faces, count)) if isinstance(count, int) else count for count in face_counts]

    def _to_faces(self, probabilities: Probabilities, boxes: Sequence[PixelBox | None]) -> list[Face]:
        return to_faces(probabilities, boxes, self.classes, model=self.path, threshold=self.threshold)


def _unpickle(
    path: str,
    threads: int | None,
    providers: tuple[str, ...],
    detector: Any,
    foreign: ForeignModel | None,
    unsure: float | bool,
) -> Predictor:
    options = {} if foreign is None else dataclasses.asdict(foreign)
    return Predictor(path, threads=threads, providers=providers, detector=detector, unsure=unsure, **options)
