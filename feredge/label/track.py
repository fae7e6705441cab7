"""Tracks and classifies the faces in a video file, a stream or a camera."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from feredge import files
from feredge.errors import PictureError
from feredge.inference.predictor import Predictor
from feredge.label.tracker import TrackedFace, Tracker
from feredge.label.video import Video
from feredge.label.video_output import Frame, FrameSink, csv_sink, video_sink, window_sink
from feredge.progress import Progress, quiet

MAX_SKIPPED_SECONDS = 1.0  # between two analyzed frames, however slow the analysis is

FrameSampler = Callable[[int, float], bool]
"""Maps a frame's index and time in seconds to whether it is analyzed."""


class EveryNth:
    """Analyze every n-th frame."""

    def __init__(self, n: int = 1) -> None:
        self.n = n

    def __call__(self, index: int, frame_time: float) -> bool:
        """Return whether to analyze the frame at `frame_time` (seconds)."""
        return index % self.n == 0


class Realtime:
    """Analyze frames only as fast as the video plays, but at least one a second.

    `clock` returns seconds; its first call marks the start of the video.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start: float | None = None
        self._last_analyzed = -MAX_SKIPPED_SECONDS

    def __call__(self, index: int, frame_time: float) -> bool:
        """Return whether to analyze the frame at `frame_time` (seconds)."""
        now = self._clock()
        if self._start is None:
            self._start = now - frame_time
        is_late = now - self._start > frame_time
        if is_late and frame_time - self._last_analyzed < MAX_SKIPPED_SECONDS:
            return False
        self._last_analyzed = frame_time
        return True


@dataclass(frozen=True)
class VideoSummary:
    """Counts of a tracked video.

    Attributes:
        frames: decoded frames.
        analyzed: frames that were run through the network.
        faces: tracks.
        seconds: time of the last frame.
        damaged: packets that could not be decoded, followed by good frames.
    """

    frames: int
    analyzed: int
    faces: int
    seconds: float = 0.0
    damaged: int = 0


def tracked_frames(
    predictor: Predictor,
    video: Video,
    *,
    detect: bool = True,
    margin: float = 0.0,
    tracker: Tracker | None = None,
    sampler: FrameSampler | None = None,
) -> Generator[Frame, None, None]:
    """Yield a video's frames with their tracked faces.

    Args:
        predictor: classifies the faces.
        video: an opened video, read once.
        detect: detect the faces in each frame; otherwise each frame is one face.
        margin: fraction by which the square around each detected face is enlarged.
        tracker: by default one with the predictor's threshold.
        sampler: selects the frames to analyze, `EveryNth(1)` by default.
    """
    tracker, sampler = tracker or Tracker(threshold=predictor.threshold), sampler or EveryNth()
    tracked: tuple[TrackedFace, ...] = ()
    with closing(video.frames()) as frames:
        for index, frame_time, pixels in frames:
            if analyze := sampler(index, frame_time):
                faces = predictor.frame(pixels, margin=margin) if detect else [predictor(pixels)]
                tracked = tuple(tracker.update(faces, frame_time))
            yield Frame(index, frame_time, pixels, tracked, analyze)


def track_video(
    predictor: Predictor,
    video: Video,
    *,
    detect: bool = True,
    margin: float = 0.0,
    tracker: Tracker | None = None,
    sampler: FrameSampler | None = None,
    table: Path | None = None,
    out: Path | None = None,
    show: bool = False,
    on_frame: FrameSink | None = None,
    progress: Progress = quiet,
) -> VideoSummary:
    """Track the faces in a video, and write or show the results.

    Args:
        predictor, video, detect, margin, tracker, sampler: as in `tracked_frames`.
        table: csv file, one row per face and analyzed frame.
        out: annotated video file (.mp4, .avi, .mkv) without sound, at the source's nominal frame rate: frames are
            repeated or dropped to keep their times.
        show: show the annotated video in a window; the key q stops it.
        on_frame: called with each frame.
        progress: called with the number of frames done, if the video's length is known.

    A camera or a live stream runs until Ctrl-C, or q in its window, and the output up to then is kept. The output of a
    file that was interrupted is discarded.

    Raises:
        PictureError: an output that cannot be written or opened, or that would overwrite its source.
    """
    if out is not None and files.same_file(out, str(video.source)):
        raise PictureError(f"{out}: expected another file than the video itself")
    frame_count = analyzed_count = 0
    seconds = 0.0
    track_numbers: set[int] = set()
    with ExitStack() as stack:
        sinks: list[FrameSink] = [] if on_frame is None else [on_frame]
        if table is not None:
            sinks.append(stack.enter_context(csv_sink(table, predictor.classes)))
        if out is not None:
            sinks.append(stack.enter_context(video_sink(out, video.frame_rate)))
        if show:
            sinks.append(stack.enter_context(window_sink(str(video.source))))
        # Closed first: a decoder thread that still runs at exit would abort the interpreter.
        generator = tracked_frames(predictor, video, detect=detect, margin=margin, tracker=tracker, sampler=sampler)
        frames = stack.enter_context(closing(generator))
        try:
            for frame in frames:
                frame_count, analyzed_count, seconds = frame_count + 1, analyzed_count + frame.analyzed, frame.time
                track_numbers.update(tracked.number for tracked in frame.faces)
                if any(sink(frame) is False for sink in sinks):
                    break
                if video.frame_count:
                    progress("frames", min(frame_count, video.frame_count), video.frame_count)
        except KeyboardInterrupt:
            if not video.live or not frame_count:
                raise
        if not frame_count:
            raise PictureError(f"{video.source}: expected a video, found no frame that OpenCV can decode")
    return VideoSummary(frame_count, analyzed_count, len(track_numbers), seconds, video.damaged)
