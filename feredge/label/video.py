"""Naming the expressions along a video file, or what a camera sees."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feredge.errors import PictureError
from feredge.inference.pictures import Images, opencv
from feredge.inference.predictor import Predictor
from feredge.label.track import Tracked, Tracker

USUAL_RATE = 25.0  # frames a second, where a source does not say
AHEAD = 4  # frames decoded while one is worked on
LONGEST_BLIND = 1.0  # seconds without a look, however slow looking is
MAX_DAMAGED_PACKETS = 300  # in a row, behind which no frame is looked for: ten seconds of a usual video
RECONNECT_SECONDS = 30.0  # a router that restarts takes no longer
MAX_RETRY_WAIT = 5.0  # seconds between two tries
NETWORK_TIMEOUT_MS = 10_000
CLOSE_SECONDS = 2.0  # that a stream has to end when nobody reads it any more

Notice = Callable[[str], None]


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
        rate: frames a second; of a variable rate an average, where the file says one.
        duration: seconds that a file says it lasts, 0 where it does not say.
        count: frames in that time at `rate`, 0 where the file does not say. An estimate: see `duration`.
        live: a camera or a stream without an end, of which frames that come too fast are dropped.
        damaged: packets so far that could not be decoded, with good frames behind them.
        lost: whether a stream broke off and did not come back.

    Raises:
        PictureError: OpenCV cannot open it.
    """

    def __init__(
        self, source: str | Path | int, *, reconnect: float = RECONNECT_SECONDS, notice: Notice | None = None
    ) -> None:
        """Open it.

        Args:
            source: a file, a stream's address (http, rtsp, ...) or a camera's number.
            reconnect: seconds for which a live stream that broke off is tried again.
            notice: called from another thread with a line on such a stream.
        """
        cv2 = opencv()
        self.source = source if isinstance(source, int) else str(source)
        self._reconnect, self._notice = reconnect, notice or (lambda _: None)
        self._capture = _open(self.source)
        if not self._capture.isOpened():
            what = "a camera" if isinstance(source, int) else "a video"
            raise PictureError(f"{source}: expected {what} that OpenCV can read, found none")
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate = rate if 1 <= rate <= 1000 else USUAL_RATE
        count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._is_stream = _is_address(self.source) and not count  # a file that a web server has says how long it is
        self.live = isinstance(source, int) or self._is_stream
        self.count = 0 if self.live else count
        self.duration = self.count / self.rate
        self.damaged = 0
        self.lost = False

    def frames(self) -> Generator[tuple[int, float, Images], None, None]:
        """Yield `(index, seconds, pixels)`, decoded a few frames ahead in a thread of its own."""
        ready: queue.Queue[tuple[int, float, Images] | None] = queue.Queue(AHEAD)
        stop = threading.Event()
        # A thread in native code aborts an interpreter that ends without it; a stream's may wait for a silent network.
        reader = threading.Thread(target=self._read, args=(ready, stop), daemon=self._is_stream)
        try:
            reader.start()  # inside: a signal while the thread starts must stop it as well
            while (frame := ready.get()) is not None:
                yield frame
        finally:
            stop.set()
            # It may wait for a place; or for a silent network, and closes the stream itself when that times out.
            deadline = time.monotonic() + CLOSE_SECONDS
            while reader.is_alive() and not (self._is_stream and time.monotonic() > deadline):
                _drain(ready)
                reader.join(0.01)

    def _read(self, ready: queue.Queue[Any], stop: threading.Event) -> None:
        index, shown, failed = 0, 0.0, 0
        start = last = time.monotonic()
        try:
            while not stop.is_set():
                pixels = self._next()
                if pixels is None:
                    failed += 1
                    if not self._is_stream:
                        if self.live or failed > MAX_DAMAGED_PACKETS:
                            break
                    elif failed > 1:  # a single one was damaged
                        if failed == 2 and self._reconnect > 0:
                            text = f"broke off after {last - start:.1f} s, tried again for {self._reconnect:g} s"
                            self._notice(f"{self.source}: {text}")
                        if not self._reopen(stop, last):
                            break
                    continue
                if failed > 1 and self._is_stream:
                    self._notice(f"{self.source}: goes on")
                else:  # the packets before were damaged, a frame each
                    self.damaged, index = self.damaged + failed, index + failed
                failed, last = 0, time.monotonic()
                if self.live:
                    shown = last - start
                    if ready.full():
                        _drain(ready)  # what a camera sees now counts, not what it saw
                else:
                    # After a read, OpenCV gives the time of the frame just read; 0 where the file has no times.
                    stated = self._capture.get(opencv().CAP_PROP_POS_MSEC) / 1000
                    shown = max(shown, stated if stated > 0 else index / self.rate)
                ready.put((index, shown, pixels))
                index += 1
        finally:
            self._capture.release()
            if not stop.is_set():
                ready.put(None)

    def _next(self) -> Images | None:
        """Return the next frame; None at the end, and of a packet that cannot be decoded."""
        try:
            good, pixels = self._capture.read()
        except opencv().error:
            return None
        return pixels if good else None

    def _reopen(self, stop: threading.Event, last: float) -> bool:
        """Open a stream again that gave its last frame at `last` (monotonic); False if that, or `stop`, is too late."""
        self._capture.release()
        wait = 0.5
        while (left := last + self._reconnect - time.monotonic()) > 0 and not stop.wait(min(wait, left)):
            self._capture = _open(self.source)
            if self._capture.isOpened():
                return True
            wait = min(2 * wait, MAX_RETRY_WAIT)
        self.lost = not stop.is_set()
        return False


def _is_address(source: str | int) -> bool:
    scheme, separator, _ = str(source).partition("://")
    return bool(separator) and scheme.lower() != "file"


def _open(source: str | int) -> Any:
    """Return OpenCV's capture of a source; of a network's, one that waits no longer than NETWORK_TIMEOUT_MS."""
    cv2 = opencv()
    if _is_address(source):
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            NETWORK_TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            NETWORK_TIMEOUT_MS,
        ]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
        if capture.isOpened():
            return capture
    return cv2.VideoCapture(source)


def watch(
    predictor: Predictor,
    video: Video,
    *,
    detect: bool = True,
    margin: float = 0.0,
    tracker: Tracker | None = None,
    pace: Callable[[int, float], bool] | None = None,
) -> Generator[Frame, None, None]:
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
    with closing(video.frames()) as frames:
        for index, shown, pixels in frames:
            if looked := pace(index, shown):
                found = predictor.frame(pixels, margin=margin) if detect else [predictor(pixels)]
                faces = tuple(tracker.update(found, shown))
            yield Frame(index, shown, pixels, faces, looked)


def _drain(ready: queue.Queue[Any]) -> None:
    try:
        while True:
            ready.get_nowait()
    except queue.Empty:
        pass
