"""Decoding of video files, network streams, cameras and pipes in a thread."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from feredge.errors import PictureError
from feredge.inference.pictures import Images, opencv
from feredge.label.captures import PICAMERA_SOURCE, PIPE_SOURCE, Capture, PicameraCapture, PipeCapture, RawFormat

DEFAULT_FRAME_RATE = 25.0  # frames per second, if a source states none
FRAME_QUEUE_SIZE = 4  # frames decoded in advance
MAX_DAMAGED_PACKETS = 300  # in a row, after which decoding stops: ten seconds of a usual video
RECONNECT_SECONDS = 30.0  # enough for a router to restart
MAX_RETRY_SECONDS = 5.0  # between two attempts to reconnect
NETWORK_TIMEOUT_MS = 10_000
CLOSE_TIMEOUT_SECONDS = 2.0  # for a stream's decoder thread to end

Notify = Callable[[str], None]


class Video:
    """A video file, network stream, camera or pipe, opened for reading.

    Attributes:
        frame_rate: nominal frames per second; the average of a variable rate.
        duration: seconds by the file's header, 0 if it states none.
        frame_count: frames by the file's header, 0 if it states none. An estimate.
        live: whether it is a camera, pipe or endless stream; frames that arrive too fast are dropped.
        damaged: packets so far that could not be decoded, followed by good frames.
        lost: whether a stream was interrupted and could not be reopened.

    Raises:
        PictureError: OpenCV cannot open it.
    """

    def __init__(
        self,
        source: str | Path | int,
        *,
        reconnect: float = RECONNECT_SECONDS,
        notify: Notify | None = None,
        raw: RawFormat | None = None,
    ) -> None:
        """Open a video.

        Args:
            source: a file, a stream's address (http, rtsp, ...), a camera's index, `picamera2` for a Raspberry Pi's
                camera, or `-` for frames on the standard input.
            reconnect: seconds for which an interrupted live stream is reopened.
            notify: called from another thread with a message about such a stream.
            raw: layout of the frames on the standard input, if they are not JPEG.
        """
        cv2 = opencv()
        self.source = source if isinstance(source, int) else str(source)
        self._reconnect, self._notify = reconnect, notify or (lambda _: None)
        self._capture = _open(self.source, raw)
        if not self._capture.isOpened():
            kind = "a camera" if isinstance(source, int) else "a video"
            raise PictureError(f"{source}: expected {kind} that OpenCV can read, found none")
        frame_rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.frame_rate = frame_rate if 1 <= frame_rate <= 1000 else DEFAULT_FRAME_RATE
        count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._is_stream = _is_address(self.source) and not count  # a file on a web server has a length
        self.live = isinstance(source, int) or self._is_stream or getattr(self._capture, "live", False)
        self.frame_count = 0 if self.live else count
        self.duration = self.frame_count / self.frame_rate
        self.damaged = 0
        self.lost = False

    def frames(self) -> Generator[tuple[int, float, Images], None, None]:
        """Yield `(index, seconds, pixels)`, decoded a few frames in advance in another thread."""
        frame_queue: queue.Queue[tuple[int, float, Images] | None] = queue.Queue(FRAME_QUEUE_SIZE)
        stop = threading.Event()
        # A running decoder thread aborts the interpreter at exit; a stream's may be blocked in a network read.
        reader = threading.Thread(target=self._read, args=(frame_queue, stop), daemon=self._is_stream)
        try:
            reader.start()  # inside `try`: a signal during the start must stop the thread too
            while (frame := frame_queue.get()) is not None:
                yield frame
        finally:
            stop.set()
            # It may wait for a free place in the queue; or for the network, and closes the stream when that times out.
            deadline = time.monotonic() + CLOSE_TIMEOUT_SECONDS
            while reader.is_alive() and not (self._is_stream and time.monotonic() > deadline):
                _drain(frame_queue)
                reader.join(0.01)

    def _read(self, frame_queue: queue.Queue[Any], stop: threading.Event) -> None:
        index, frame_time, failed = 0, 0.0, 0
        start = last = time.monotonic()
        try:
            while not stop.is_set():
                pixels = self._decode()
                if pixels is None:
                    failed += 1
                    if not self._is_stream:
                        ended = self.live and getattr(self._capture, "ended", True)  # of a camera: gone
                        if ended or failed > MAX_DAMAGED_PACKETS:
                            break
                    elif failed > 1:  # a single failure is a damaged packet
                        if failed == 2 and self._reconnect > 0:
                            text = f"interrupted after {last - start:.1f} s, reconnecting for {self._reconnect:g} s"
                            self._notify(f"{self.source}: {text}")
                        if not self._reopen(stop, last):
                            break
                    continue
                if failed > 1 and self._is_stream:
                    self._notify(f"{self.source}: reconnected")
                else:  # each failed packet was a damaged frame
                    self.damaged, index = self.damaged + failed, index + failed
                failed, last = 0, time.monotonic()
                if self.live:
                    frame_time = last - start
                    if frame_queue.full():
                        _drain(frame_queue)  # prefer the newest frame
                else:
                    # After a read, OpenCV returns that frame's time; 0 if the file has no timestamps.
                    stated_seconds = self._capture.get(opencv().CAP_PROP_POS_MSEC) / 1000
                    frame_time = max(frame_time, stated_seconds if stated_seconds > 0 else index / self.frame_rate)
                frame_queue.put((index, frame_time, pixels))
                index += 1
        finally:
            self._capture.release()
            if not stop.is_set():
                frame_queue.put(None)

    def _decode(self) -> Images | None:
        """Return the next frame; None at the end, and for a packet that cannot be decoded."""
        try:
            good, pixels = self._capture.read()
        except opencv().error:
            return None
        return pixels if good else None

    def _reopen(self, stop: threading.Event, last: float) -> bool:
        """Reopen a stream whose last frame came at `last` (monotonic time); False after the timeout or `stop`."""
        self._capture.release()
        backoff_seconds = 0.5
        while (remaining := last + self._reconnect - time.monotonic()) > 0 and not stop.wait(
            min(backoff_seconds, remaining)
        ):
            self._capture = _open(self.source)
            if self._capture.isOpened():
                return True
            backoff_seconds = min(2 * backoff_seconds, MAX_RETRY_SECONDS)
        self.lost = not stop.is_set()
        return False


def _is_address(source: str | int) -> bool:
    scheme, separator, _ = str(source).partition("://")
    return bool(separator) and scheme.lower() != "file"


def _open(source: str | int, raw: RawFormat | None = None) -> Capture:
    """Open a source, in OpenCV unless it is a Pi's camera or a pipe; a stream with timeouts of NETWORK_TIMEOUT_MS."""
    if source == PIPE_SOURCE:
        return PipeCapture(sys.stdin.buffer, raw)  # type: ignore[arg-type]
    if source == PICAMERA_SOURCE:
        return PicameraCapture()
    cv2 = opencv()
    capture: Capture
    if _is_address(source):
        timeouts = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            NETWORK_TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            NETWORK_TIMEOUT_MS,
        ]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, timeouts)
        if capture.isOpened():
            return capture
    capture = cv2.VideoCapture(source)
    return capture


def _drain(frame_queue: queue.Queue[Any]) -> None:
    try:
        while True:
            frame_queue.get_nowait()
    except queue.Empty:
        pass
