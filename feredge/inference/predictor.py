"""The Predictor: an exported network as one object that takes pictures and names expressions."""

from __future__ import annotations

import io
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from feredge.errors import ArtifactError, FeredgeError, PictureError
from feredge.inference.artifact import Card
from feredge.inference.contract import InputContract
from feredge.inference.pictures import Box, Color, Images, Picture, as_box, in_order
from feredge.inference.runtimes import OnnxRunner, Probabilities, Runner, cores, open_artifact, open_checked

if TYPE_CHECKING:  # imported on first need: a cold process that names one face does without both
    from feredge.inference import faces
    from feredge.inference.parallel import Workers

CHUNK = 16
"""Pictures that one thread works on at a time: more no longer helps, and fewer leave cores idle at a batch's end."""


@dataclass(frozen=True, slots=True)
class Face:
    """What a network says of one face.

    Attributes:
        label: the likeliest class.
        confidence: its probability, 0 to 1.
        scores: the probability of every class, in the order of `classes`.
        classes: the class names.
        box: `(x, y, width, height)` in pixels of the picture, where one was found or given.
    """

    label: str
    confidence: float
    scores: tuple[float, ...]
    classes: tuple[str, ...] = field(repr=False)
    box: tuple[int, int, int, int] | None = None

    @property
    def probabilities(self) -> dict[str, float]:
        """The probability of every class by its name."""
        return dict(zip(self.classes, self.scores, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        box = None if self.box is None else list(self.box)
        return {
            "label": self.label,
            "confidence": self.confidence,
            "probabilities": self.probabilities,
            "box": box,
        }


class Predictor:
    """An exported network: one face, many faces, or the faces in a frame.

    Safe to call from many threads. After a fork the child opens the model anew on its first call. Close it, or use
    it as a context manager, to give threads and memory back at a known time.

        predictor = Predictor()
        predictor("face.png").label

    The file is opened in this process. Before its runtime sees it, its structure is checked: sizes, offsets and names
    of a flatbuffer, operators on a list for TFLite, onnxruntime's own and neither loops nor branches for ONNX, no
    weights in other files, cards of at most 1 MB. What is trusted is the runtime: that its kernels keep to the tensors
    they are handed, and that the network needs no more memory and time than there are. `feredge inspect FILE` opens
    a file of unknown origin in a process with limits.

    Args:
        model: an `.onnx`, `.ort` or `.tflite` file with a feredge card inside; or an exported folder, of which
            the first int8 file is taken (ONNX before TFLite, then the other precisions); or a name of `feredge
            models`; or None for the network that comes with feredge. A file that a `manifest.json` beside it does
            not name, or names with another digest, is refused.
        threads: CPU threads for a call. None takes one for a single face and every core for a batch; a small
            network gains little from a second thread on one face.
        providers: onnxruntime's execution providers, the first that can do an operation does it.
        detector: what finds faces in frames: None for OpenCV's Haar cascade, the path of a YuNet file, or a
            function as `feredge.inference.faces.Detector`.

    Attributes:
        path: the model file.
        card: what the file says of itself.
        classes: class names in the order of the probabilities.
        contract: the network's input.

    Raises:
        ArtifactError: no such model, a damaged one, one without a card, or one that does not do what its card says.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        threads: int | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        detector: faces.Detector | str | os.PathLike[str] | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise ArtifactError(f"expected at least 1 thread, found {threads}")
        runner = open_checked(model, threads=threads or 1, providers=providers)
        self.path = runner.path
        self._threads = threads
        self._width = threads or cores()
        self._providers = tuple(providers)
        self._detector = detector
        self._opened_detector: faces.Detector | None = None
        if detector is not None:
            self._opened_detector = self.detector  # a bad file is told here, not at the first frame
        self._workers: Workers | None = None
        self._lock = threading.Lock()
        self._closed = False
        self.card: Card = runner.card
        self.classes: tuple[str, ...] = self.card.classes
        self.contract: InputContract = self.card.contract
        self._runner: Runner | None = runner
        _living.add(self)

    def __call__(self, picture: Picture, *, box: Box | None = None, margin: float = 0.0, color: Color = "bgr") -> Face:
        """Name the expression of one face.

        Args:
            picture: a picture of one face, of any size: `uint8` array `(h, w)`, `(h, w, 1)` gray, `(h, w, 3)`,
                `(h, w, 4)` with alpha last; or the path of a picture file, its bytes (also `bytearray`,
                `memoryview`, `io.BytesIO`), or a picture of Pillow.
            box: where the face is, in any form that `feredge.inference.pictures.as_box` takes; without one the
                whole picture is the face.
            margin: share by which the square around `box` is enlarged, 0.1 for 10 %.
            color: channel order of a colour array; `yuv420` or `nv12` for a camera's planes `(h * 3/2, w)`.

        Raises:
            PictureError: a picture or box that is none, or YUV planes that are not called so.
            ArtifactError: closed, or the network failed.
        """
        runner = self._runner or self._reopen()
        where = None
        if box is not None:
            from feredge.inference import faces

            pixels, color = in_order(picture, color)
            where = as_box(box)
            picture = faces.crop(pixels, where, margin=margin)
        rows = runner.predict(self.contract.to_tensor(picture, color=color)[None])
        return self._faces(rows, [where])[0]

    def batch(self, pictures: Iterable[Picture], *, color: Color = "bgr") -> list[Face]:
        """Name the expressions of many faces, each a picture of any size and kind, in their order.

        Raises:
            PictureError: one of them is no picture; its place is named.
            ArtifactError: closed, or the network failed.
        """
        if isinstance(pictures, (str, bytes, bytearray, memoryview, io.IOBase, os.PathLike)):
            raise PictureError("expected many pictures, found one path or the bytes of one")
        pictures = list(pictures)
        apart = not all(isinstance(picture, np.ndarray) for picture in pictures)
        rows = self._spread(pictures, lambda part, start: self._tensor(part, start, color), apart=apart)
        return self._faces(rows, [None] * len(pictures))

    def frame(
        self, picture: Picture, *, boxes: Iterable[Box] | None = None, margin: float = 0.0, color: Color = "bgr"
    ) -> list[Face]:
        """Find the faces in a picture, or take those in `boxes`, and name their expressions.

        Args:
            picture: as for one face.
            boxes: where the faces are; None looks for them, and gives the largest first.
            margin: share by which the square around each box is enlarged.
            color: channel order of a colour array.

        Returns:
            One face a box; an empty list where none is found.
        """
        tensors, found = self._cut(picture, boxes, margin, color)
        return self._faces(self._spread(tensors, lambda part, _: np.stack(part)), found)

    def stream(
        self, pictures: Iterable[Picture], *, find: bool = False, margin: float = 0.0, color: Color = "bgr"
    ) -> Iterator[list[Face] | PictureError]:
        """Yield what `frame` (with `find`) or the call for one face says of each picture, in their order.

        Made for hundreds of thousands of paths: reading, decoding and inference overlap on all threads, and only
        a few pictures are held at a time. A picture that cannot be used yields its PictureError.

        Raises:
            ArtifactError: closed, or the network failed.
        """
        from feredge.inference.parallel import Workers

        waiting = iter(pictures)
        # Looking for faces takes a hundred times as long as naming one: a few photos must not wait in one thread.
        size = 2 if find else 2 * CHUNK
        chunks = iter(lambda: list(islice(waiting, size)), [])
        with Workers(self._runners(), self._width + 1) as workers:

            def work(chunk: list[Picture]) -> list[list[Face] | PictureError]:
                return self._answers(chunk, find, margin, color, workers.predict)

            for answers in workers.map(work, chunks):
                yield from answers

    def predict(self, batch: Images) -> Probabilities:
        """Return probabilities, `float32 (N, classes)`, for a ready `uint8 (N, H, W, C)` batch."""
        self.contract.check_batch(batch)
        return self._spread(batch, lambda part, _: np.ascontiguousarray(part))

    @property
    def detector(self) -> faces.Detector:
        """What finds faces in frames."""
        if self._opened_detector is None:
            from feredge.inference import faces

            self._opened_detector = faces.open_detector(self._detector)
        return self._opened_detector

    def close(self) -> None:
        """Give threads and memory back. A closed Predictor raises ArtifactError when called."""
        with self._lock:
            self._closed = True
            workers, self._workers, self._runner = self._workers, None, None
        if workers is not None:
            workers.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        """Pickle as the way to open it again, so that it can be sent to another process."""
        return _open_again, (str(self.path), self._threads, self._providers, self._detector)

    def _check_open(self) -> None:
        if self._closed:
            raise ArtifactError(f"{self.path}: the predictor is closed")

    def _open_runner(self, threads: int | None = None) -> Runner:
        runner = open_artifact(self.path, threads=threads or self._threads or 1, providers=self._providers)
        if runner.card != self.card:
            raise ArtifactError(f"{self.path}: another model took its place")
        return runner

    def _after_fork(self) -> None:
        """Start afresh in a child: the parent's threads are not here, and its locks may be held for ever."""
        import ctypes

        for lost in (self._runner, self._workers):
            # Never freed: a session's end would wait for threads that stayed in the parent.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(lost))
        self._runner, self._workers, self._lock = None, None, threading.Lock()

    def _reopen(self) -> Runner:
        with self._lock:
            self._check_open()
            if self._runner is None:
                self._runner = self._open_runner()
            return self._runner

    def _tensor(self, pictures: Sequence[Picture], start: int, color: Color) -> Images:
        batch = np.empty((len(pictures), *self.contract.shape), np.uint8)
        for index, picture in enumerate(pictures):
            try:
                batch[index] = self.contract.to_tensor(picture, color=color)
            except PictureError as error:
                raise PictureError(f"picture {start + index}: {error}") from error
        return batch

    def _cut(
        self, picture: Picture, boxes: Iterable[Box] | None, margin: float, color: Color
    ) -> tuple[list[Images], list[faces.WholeBox]]:
        """Return the network's input for each face in a picture, and where it is."""
        from feredge.inference import faces

        pixels, color = in_order(picture, color)
        if boxes is None:
            found = faces.detect(pixels, detector=self.detector, color=color)
        else:
            found = [as_box(box) for box in boxes]
        crops = [faces.crop(pixels, box, margin=margin) for box in found]
        return [self.contract.to_tensor(crop, color=color) for crop in crops], found

    def answer(
        self, pictures: Sequence[Picture], *, find: bool = False, margin: float = 0.0, color: Color = "bgr"
    ) -> list[list[Face] | PictureError]:
        """Return what `stream` yields, for a few pictures, in the calling thread and as one batch."""
        runner = self._runner or self._reopen()
        return self._answers(pictures, find, margin, color, runner.predict)

    def _answers(
        self,
        pictures: Sequence[Picture],
        find: bool,
        margin: float,
        color: Color,
        predict: Callable[[Images], Probabilities],
    ) -> list[list[Face] | PictureError]:
        tensors: list[Images] = []
        boxes: list[faces.WholeBox | None] = []
        counts: list[int | PictureError] = []  # faces in each picture
        for picture in pictures:
            try:
                if find:
                    cut, found = self._cut(picture, None, margin, color)
                    boxes += found
                else:
                    cut = [self.contract.to_tensor(picture, color=color)]
                    boxes.append(None)
                tensors += cut
                counts.append(len(cut))
            except PictureError as error:
                counts.append(error)
        named = iter(self._faces(predict(np.stack(tensors)), boxes) if tensors else [])
        return [list(islice(named, count)) if isinstance(count, int) else count for count in counts]

    def _spread(self, pictures: Any, prepare: Callable[[Any, int], Images], *, apart: bool = False) -> Probabilities:
        """Prepare and run chunks, on as many threads as there are chunks and cores.

        Each thread runs its chunk through a one-thread session: no core waits for another, and small networks keep
        their activations in the core's own cache. The caller prepares one chunk after the other meanwhile: resizing
        takes and leaves Python's lock so often that threads which do it beside each other mostly wait. With `apart`
        each thread prepares its own chunk, as decoding files wants it.
        """
        runner = self._runner or self._reopen()
        count = len(pictures)
        size = min(CHUNK, -(-count // self._width)) or 1
        starts = range(0, count, size)
        chunks = ((pictures[at : at + size], at) for at in starts)
        if self._width == 1 or len(starts) < 2:
            parts = [runner.predict(prepare(*chunk)) for chunk in chunks]
        else:
            workers = self._workers or self._start()
            try:
                if apart:
                    parts = list(workers.map(lambda chunk: workers.predict(prepare(*chunk)), chunks))
                else:
                    parts = list(workers.map(workers.predict, (prepare(*chunk) for chunk in chunks)))
            except FeredgeError:
                raise
            except Exception:
                self._check_open()  # closed meanwhile by another thread, the pool takes and finishes nothing more
                raise
        rows = np.concatenate(parts) if parts else np.empty((0, len(self.classes)), np.float32)
        if rows.shape != (count, len(self.classes)):
            raise ArtifactError(f"{self.path}: expected {(count, len(self.classes))} outputs, found {rows.shape}")
        return rows

    def _start(self) -> Workers:
        from feredge.inference.parallel import Workers

        runners = self._runners()
        with self._lock:
            self._check_open()
            if self._workers is None:
                self._workers = Workers(runners, self._width)
            return self._workers

    def _runners(self) -> list[Runner]:
        """Return a one-thread runner for each thread; one session serves them all, an interpreter only one."""
        runner = self._runner or self._reopen()
        if not isinstance(runner, OnnxRunner):
            return [self._open_runner(1) for _ in range(self._width)]
        return [runner if self._threads in (None, 1) else self._open_runner(1)] * self._width

    def _faces(self, rows: Probabilities, boxes: Sequence[faces.WholeBox | None]) -> list[Face]:
        classes = self.classes
        best = rows.argmax(axis=1).tolist()
        found = []
        for scores, index, box in zip(rows.tolist(), best, boxes, strict=True):
            confidence = scores[index]
            if confidence != confidence:  # argmax stops at NaN
                raise ArtifactError(f"{self.path}: expected probabilities, found NaN")
            found.append(Face(classes[index], confidence, tuple(scores), classes, box))
        return found


def _open_again(path: str, threads: int | None, providers: tuple[str, ...], detector: Any) -> Predictor:
    return Predictor(path, threads=threads, providers=providers, detector=detector)


_living: weakref.WeakSet[Predictor] = weakref.WeakSet()


def _forked() -> None:
    for predictor in list(_living):
        predictor._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
