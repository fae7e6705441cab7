"""Tracking and classification of the faces in a video, stream or camera."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from feredge.api.cancel import Cancel
from feredge.api.predictor_options import DEFAULT_OPTIONS, PredictorOptions
from feredge.errors import Cancelled, PictureError
from feredge.label.video import RECONNECT_SECONDS
from feredge.progress import Progress, quiet

if TYPE_CHECKING:
    from feredge.label.video import Video
    from feredge.label.video_output import Frame

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrackOptions:
    """How the faces of a video are tracked.

    Attributes:
        smooth_seconds: time constant of the average of a face's probabilities; None for the tracker's default.
        skip: number of frames to skip after each analyzed one.
        realtime: skip frames when classification is slower than the video; default for cameras and streams without
            `skip`.
        reconnect_seconds: how long to try to reconnect to an interrupted network stream.
        raw: size and format of raw frames on the standard input: `640x480`, which are `yuv420`, or `640x480:nv12`, also
            `gray`, `bgr`, `rgb`. Without it they are JPEG.
    """

    smooth_seconds: float | None = None
    skip: int = 0
    realtime: bool = False
    reconnect_seconds: float = RECONNECT_SECONDS
    raw: str | None = None


@dataclass(frozen=True)
class TrackResult:
    """Counts of a tracked video.

    Attributes:
        frames: number of decoded frames.
        analyzed_frames: number of frames in which faces were detected and classified.
        faces: number of tracked faces.
        seconds: time of the last frame.
        duration_seconds: duration by the source's header; 0 if it has none.
        frame_rate: frames per second of the source.
        damaged_packets: number of packets that could not be decoded.
        lost: whether a stream was interrupted and could not be resumed.
    """

    frames: int
    analyzed_frames: int
    faces: int
    seconds: float
    duration_seconds: float
    frame_rate: float
    damaged_packets: int
    lost: bool


def track(
    source: str | PathLike[str] | int,
    *,
    options: PredictorOptions = DEFAULT_OPTIONS,
    tracking: TrackOptions | None = None,
    table: str | PathLike[str] | None = None,
    out: str | PathLike[str] | None = None,
    show: bool = False,
    on_frame: Callable[[Frame], object] | None = None,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> TrackResult:
    """Track the faces in a video file, network stream or camera, and classify their expressions.

    Args:
        source: a file, a stream's address, a camera's number from 0, `picamera2` for a Raspberry Pi's camera by the
            package of that name, or `-` for frames on the standard input.
        options: the model, and how faces are detected.
        tracking: how faces are tracked.
        table: csv file with one row per face and analyzed frame.
        out: video file (.mp4, .avi, .mkv) with boxes and labels.
        show: show the video in a window; the key q stops.
        on_frame: called with each frame; returns False to stop.
        progress: called after each frame, if the source's number of frames is known.
        cancel: polled after each frame. For a camera or stream, output written so far is kept; for a video, it is not.

    Raises:
        PictureError: a source that cannot be read; a table, video or window that cannot be written or opened.
        ArtifactError: a model that is missing or damaged.
        Cancelled: `cancel` returned True, of a video.
    """
    from feredge.label.captures import RawFormat
    from feredge.label.track import EveryNth, Realtime, track_video
    from feredge.label.tracker import Tracker
    from feredge.label.video import Video

    if isinstance(source, int) and source < 0:
        raise PictureError(f"{source}: expected a camera's number from 0")
    settings = tracking or TrackOptions()
    with options.open() as predictor:
        video = Video(
            source if isinstance(source, int) else str(source),
            reconnect=settings.reconnect_seconds,
            notify=lambda line: logger.warning("%s", line),
            raw=None if settings.raw is None else RawFormat.parse(settings.raw),
        )
        realtime = settings.realtime or (video.live and not settings.skip)
        summary = track_video(
            predictor,
            video,
            detect=options.detects_faces(predictor),
            margin=options.margin,
            tracker=Tracker(threshold=predictor.threshold)
            if settings.smooth_seconds is None
            else Tracker(smoothing_seconds=settings.smooth_seconds, threshold=predictor.threshold),
            sampler=Realtime() if realtime else EveryNth(settings.skip + 1),
            table=None if table is None else Path(table),
            out=None if out is None else Path(out),
            show=show,
            on_frame=_stoppable(on_frame, cancel, video),
            progress=progress,
        )
    return TrackResult(
        summary.frames,
        summary.analyzed,
        summary.faces,
        summary.seconds,
        video.duration,
        video.frame_rate,
        summary.damaged,
        video.lost,
    )


def _stoppable(
    on_frame: Callable[[Frame], object] | None, cancel: Cancel | None, video: Video
) -> Callable[[Frame], object] | None:
    """Return a function that polls `cancel`, then calls `on_frame`."""
    if cancel is None:
        return on_frame

    def checked(frame: Frame) -> object:
        if not cancel():
            return None if on_frame is None else on_frame(frame)
        if video.live:
            return False
        raise Cancelled(f"{video.source}: cancelled at {frame.time:.1f} s")

    return checked
