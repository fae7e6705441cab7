"""Naming the expressions along a video file, or what a camera sees."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feredge.errors import PictureError
from feredge.label.track import Tracked, Tracker
from feredge.pictures import Images, opencv
from feredge.predictor import Predictor

USUAL_RATE = 25.0  # frames a second, where a source does not say
AHEAD = 4  # frames decoded while one is worked on
LONGEST_BLIND = 1.0  # seconds without a look, however slow looking is


@dataclass(frozen=True)
class Frame:
    """One frame: when it is shown, what it shows, and who is in it.

    Attributes:
        index: its place in the video, from 0.
        time: seconds from the start.
        pixels: `uint8 (h, w, 3)` BGR.
        faces: numbered and calmed; those of the last look where this frame was skipped.
        looked: whether faces were looked for in this frame.
    """

    index: int
    time: float
    pixels: Images
    faces: tuple[Tracked, ...]
    looked: bool


class Every:
    """Look into every n-th frame."""

    def __init__(self, n: int = 1) -> None:
        self.n = n

    def __call__(self, index: int, shown: float) -> bool:
        """Say whether to look into the frame that is shown at `shown` seconds."""
        return index % self.n == 0


class HoldRate:
    """Look into a frame only while the work keeps up with the video, and at least once a second.

    `clock` gives seconds; its first call is the start of the video.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start: float | None = None
        self._last = -LONGEST_BLIND

    def __call__(self, index: int, shown: float) -> bool:
        """Say whether to look into the frame that is shown at `shown` seconds."""
        now = self._clock()
        if self._start is None:
            self._start = now - shown
        late = now - self._start > shown
        if late and shown - self._last < LONGEST_BLIND:
            return False
        self._last = shown
        return True


class Video:
    """A video file, a stream's address or a camera's number, opened for reading.

    Attributes:
        rate: frames a second.
        count: frames that a file promises, 0 where it does not say.
        live: a camera, of which frames that come too fast are dropped.

    Raises:
        PictureError: OpenCV cannot open it.
    """

    def __init__(self, source: str | Path | int) -> None:
        cv2 = opencv()
        self.source = source if isinstance(source, int) else str(source)
        self.live = isinstance(source, int)
        self._capture = cv2.VideoCapture(self.source)
        if not self._capture.isOpened():
            what = "a camera" if self.live else "a video"
            raise PictureError(f"{source}: expected {what} that OpenCV can read, found none")
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate = rate if 1 <= rate <= 1000 else USUAL_RATE
        self.count = 0 if self.live else max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def frames(self) -> Iterator[tuple[int, float, Images]]:
        """Yield `(index, seconds, pixels)`, decoded a few frames ahead in a thread of its own."""
        ready: queue.Queue[tuple[int, float, Images] | None] = queue.Queue(AHEAD)
        stop = threading.Event()
        reader = threading.Thread(target=self._read, args=(ready, stop), daemon=True)
        reader.start()
        try:
            while (frame := ready.get()) is not None:
                yield frame
        finally:
            stop.set()
            while reader.is_alive():  # it may wait for a place
                _drain(ready)
                reader.join(0.01)
            self._capture.release()

    def _read(self, ready: queue.Queue[Any], stop: threading.Event) -> None:
        cv2 = opencv()
        index, shown, start = 0, 0.0, time.monotonic()
        while not stop.is_set():
            try:
                good, pixels = self._capture.read()
            except cv2.error:
                good = False
            if not good:
                break
            if self.live:
                shown = time.monotonic() - start
                if ready.full():
                    _drain(ready)  # what a camera sees now counts, not what it saw
            else:
                # After a read, OpenCV gives the time of the frame just read; 0 where the file has no times.
                said = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                shown = max(shown, said if said > 0 else index / self.rate)
            ready.put((index, shown, pixels))
            index += 1
        if not stop.is_set():
            ready.put(None)


def watch(
    predictor: Predictor,
    video: Video,
    *,
    find: bool = True,
    margin: float = 0.0,
    tracker: Tracker | None = None,
    pace: Callable[[int, float], bool] | None = None,
) -> Iterator[Frame]:
    """Yield a video's frames with the faces in them.

    Args:
        predictor: what names them.
        video: opened, read once.
        find: look for faces; otherwise each frame is one face.
        margin: share by which the square around each found face is enlarged.
        tracker: what follows and calms them, `Tracker()` unless given.
        pace: says of `(index, seconds)` whether to look into a frame, `Every(1)` unless given.
    """
    tracker, pace = tracker or Tracker(), pace or Every()
    faces: tuple[Tracked, ...] = ()
    for index, shown, pixels in video.frames():
        if looked := pace(index, shown):
            found = predictor.frame(pixels, margin=margin) if find else [predictor(pixels)]
            faces = tuple(tracker.update(found, shown))
        yield Frame(index, shown, pixels, faces, looked)


def _drain(ready: queue.Queue[Any]) -> None:
    try:
        while True:
            ready.get_nowait()
    except queue.Empty:
        pass
