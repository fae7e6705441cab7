"""Following the faces of a video into a table, an annotated video, a window."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feredge import files
from feredge.errors import PictureError
from feredge.inference.pictures import opencv
from feredge.inference.predictor import Predictor
from feredge.label.draw import annotate
from feredge.label.track import Tracker
from feredge.label.video import Frame, Video, watch
from feredge.progress import Progress, quiet

CODES = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v"}
LONGEST_GAP = 600.0  # seconds for which one frame is repeated
Sink = Callable[[Frame], Any]


@dataclass(frozen=True)
class Followed:
    """What came out of a video.

    Attributes:
        frames: those that were decoded.
        looked: those in which faces were looked for.
        faces: numbers that were given.
        seconds: when the last frame is shown.
        damaged: packets that could not be decoded, with good frames behind them.
    """

    frames: int
    looked: int
    faces: int
    seconds: float = 0.0
    damaged: int = 0


def follow(
    predictor: Predictor,
    video: Video,
    *,
    detect: bool = True,
    margin: float = 0.0,
    tracker: Tracker | None = None,
    pace: Callable[[int, float], bool] | None = None,
    table: Path | None = None,
    out: Path | None = None,
    show: bool = False,
    each: Sink | None = None,
    progress: Progress = quiet,
) -> Followed:
    """Run a Predictor along a video.

    Args:
        predictor, video, find, margin, tracker, pace: as `feredge.label.video.watch` takes them.
        table: csv file, one row a face and frame looked into.
        out: video file (.mp4, .avi, .mkv) of the same frames with boxes and labels, at the rate that the source says:
            where frames come faster or slower, some are left out or repeated, so that each is shown at its time.
            Sound is left out.
        show: show it in a window as it goes; the key q ends.
        each: called with each frame.
        progress: called with the frames done, where the video says how many it has.

    A camera or a live stream goes on until Ctrl-C, or q in its window, and what was written until then stands. The
    files of a video that was stopped are not kept.

    Raises:
        PictureError: a video, table or window that cannot be written or opened; a video that would take the place of
            its source.
    """
    if out is not None and files.same(out, str(video.source)):
        raise PictureError(f"{out}: expected another file than the video itself")
    frames = looked = 0
    seconds = 0.0
    numbers: set[int] = set()
    with ExitStack() as stack:
        sinks: list[Sink] = [] if each is None else [each]
        if table is not None:
            sinks.append(stack.enter_context(_table(table, predictor.classes)))
        if out is not None:
            sinks.append(stack.enter_context(_video(out, video.rate)))
        if show:
            sinks.append(stack.enter_context(_window(str(video.source))))
        # Closed before anything else ends: a thread that still decodes would abort the interpreter at its exit.
        watched = watch(predictor, video, detect=detect, margin=margin, tracker=tracker, pace=pace)
        frames_with_faces = stack.enter_context(closing(watched))
        try:
            for frame in frames_with_faces:
                frames, looked, seconds = frames + 1, looked + frame.looked, frame.time
                numbers.update(tracked.number for tracked in frame.faces)
                if any(sink(frame) is False for sink in sinks):
                    break
                if video.count:
                    progress("frames", min(frames, video.count), video.count)
        except KeyboardInterrupt:
            if not video.live or not frames:
                raise
        if not frames:
            raise PictureError(f"{video.source}: expected a video, found no frame that OpenCV can decode")
    return Followed(frames, looked, len(numbers), seconds, video.damaged)


@contextmanager
def _table(path: Path, classes: tuple[str, ...]) -> Iterator[Sink]:
    if path.suffix != ".csv":
        raise PictureError(f"{path}: expected a table that ends in .csv")
    with files.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        fixed = ["frame", "time", "face", "label", "confidence", "x", "y", "width", "height"]
        writer.writerow([*fixed, *(f"p_{name}" for name in classes)])

        def add(frame: Frame) -> None:
            for tracked in frame.faces if frame.looked else ():
                face = tracked.face
                about = [frame.index, f"{frame.time:.3f}", tracked.number, face.label, f"{face.confidence:.6f}"]
                writer.writerow([*about, *(face.box or [""] * 4), *(f"{score:.6f}" for score in face.scores)])

        yield add


@contextmanager
def _video(path: Path, rate: float) -> Iterator[Sink]:
    if path.suffix not in CODES:
        raise PictureError(f"{path}: expected a video that ends in {', '.join(CODES)}")
    with files.replacing(path) as temporary:
        writer = _ConstantRate(path, temporary, rate)
        try:
            yield writer.add
        finally:
            writer.close()
        # OpenCV says nothing of a full disk, neither while it writes nor at the end.
        if (readable := _count(temporary)) != writer.written or not readable:
            raise PictureError(
                f"{path}: expected a video of {writer.written} frames, {readable} can be read back; is the disk full?"
            )


class _ConstantRate:
    """Writes a video of one rate, in which every frame stands at its own time.

    Attributes:
        written: frames in the file. A frame waits until the time of the next is known.
    """

    def __init__(self, path: Path, temporary: Path, rate: float) -> None:
        self.written = 0
        self._path, self._temporary, self._rate = path, temporary, rate
        self._writer: Any = None
        self._waiting: Any = None
        self._offset = 0.0  # seconds between the source's times and the file's
        self._size = (0, 0)

    def add(self, frame: Frame) -> None:
        pixels = annotate(frame.pixels, [tracked.face for tracked in frame.faces])
        if self._writer is None:
            self._open(pixels.shape[1], pixels.shape[0])
            self._offset = frame.time
        if (pixels.shape[1], pixels.shape[0]) != self._size:  # OpenCV would leave it out
            pixels = opencv().resize(pixels, self._size, interpolation=opencv().INTER_AREA)
        place = round((frame.time - self._offset) * self._rate)
        if place - self.written > LONGEST_GAP * self._rate:  # hours of a still picture: the source's clock has jumped
            self._offset = frame.time - (self.written + 1) / self._rate
            place = self.written + 1
        self._write_until(place)
        self._waiting = pixels

    def _open(self, width: int, height: int) -> None:
        cv2 = opencv()
        code = cv2.VideoWriter.fourcc(*CODES[self._path.suffix])
        self._size = width, height
        self._writer = cv2.VideoWriter(str(self._temporary), code, self._rate, self._size)
        if not self._writer.isOpened():
            raise PictureError(f"{self._path}: expected a video of {width}x{height}, OpenCV cannot write it")

    def _write_until(self, place: int) -> None:
        while self._waiting is not None and self.written < place:
            self._writer.write(self._waiting)
            self.written += 1

    def close(self) -> None:
        """Write the last frame."""
        if self._writer is not None:
            self._write_until(self.written + 1)
            self._writer.release()


def _count(path: Path) -> int:
    """Return how many frames of a video file can be read."""
    capture = opencv().VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


@contextmanager
def _window(title: str) -> Iterator[Sink]:
    cv2 = opencv()
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise PictureError("expected a screen to show a window on, found none")  # Qt would end the process

    def add(frame: Frame) -> bool:
        cv2.imshow(title, annotate(frame.pixels, [tracked.face for tracked in frame.faces]))
        return bool(cv2.waitKey(1) & 0xFF != ord("q"))

    try:
        yield add
    finally:
        cv2.destroyAllWindows()
