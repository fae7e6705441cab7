"""`feredge track`: track and classify the faces in a video, stream or camera."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

import feredge
from feredge.commands.predicting import bar, with_predictor_options
from feredge.commands.shared import PATH_TYPE
from feredge.console import echo

if TYPE_CHECKING:
    from feredge.api.predictor_options import PredictorOptions
    from feredge.label.video_output import Frame


class VideoSource(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.3 up
    """A video file, a stream's address, or a camera's number; a file of digits only is `./0`."""

    name = "SOURCE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """Read the text of an argument."""
        if not re.fullmatch(r"-?\d+", str(value)):
            return str(value)
        if int(str(value)) < 0:
            self.fail(f"expected a camera's number from 0, found {value}", param, ctx)
        return int(str(value))


@click.command("track")
@click.argument("source", type=VideoSource())
@with_predictor_options
@click.option("--csv", "table", type=PATH_TYPE, help="Write a csv with one row per face and analyzed frame.")
@click.option("--out", type=PATH_TYPE, help="Write the video with boxes and labels: .mp4, .avi, .mkv.")
@click.option("--show", is_flag=True, help="Show the video in a window; the key q stops.")
@click.option(
    "--smooth",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Average the probabilities of a face over this time.  [default: 0.5]",
)
@click.option("--skip", type=click.IntRange(0), default=0, metavar="N", help="Skip N frames after each analyzed one.")
@click.option("--realtime", is_flag=True, help="Skip frames when classification is slower than the video.")
@click.option(
    "--reconnect",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="How long to try to reconnect to an interrupted network stream.  [default: 30]",
)
@click.option(
    "--raw",
    metavar="WxH[:FORMAT]",
    help="Raw frames on the standard input, of yuv420 (the default), nv12, gray, bgr or rgb: 640x480:nv12.",
)
def command(
    source: str | int,
    table: Path | None,
    out: Path | None,
    show: bool,
    smooth: float | None,
    skip: int,
    realtime: bool,
    reconnect: float | None,
    raw: str | None,
    options: PredictorOptions,
) -> None:
    """Track the faces in a video and classify their expressions.

    SOURCE is a video file, a stream's address (http, rtsp, ...), a camera's number from 0, picamera2 for the camera of
    a Raspberry Pi, or - for frames on the standard input: JPEG, as `rpicam-vid --codec mjpeg -o -` writes, or raw ones.
    Ctrl-C stops a camera or stream; output written so far is kept. Without --csv and --show, a line is printed when a
    face appears or its label changes.
    """
    if skip and realtime:
        raise click.UsageError("expected --skip or --realtime, found both")
    if reconnect is not None and isinstance(source, int):
        raise click.UsageError("--reconnect is for a stream's address, found a camera")
    if raw is not None and source != "-":
        raise click.UsageError("--raw is for frames on the standard input, the source -")
    tracking = feredge.TrackOptions(smooth, skip, realtime, raw=raw)
    if reconnect is not None:
        tracking = replace(tracking, reconnect_seconds=reconnect)
    with bar() as progress:
        result = feredge.track(
            source,
            options=options,
            tracking=tracking,
            table=table,
            out=out,
            show=show,
            on_frame=None if table or show else _print_changes(),
            progress=progress,
        )
    parts = [
        f"{result.frames:,} frames",
        f"{result.analyzed_frames:,} analyzed",
        f"{result.faces:,} faces tracked",
    ]
    if result.damaged_packets:
        parts.append(f"{result.damaged_packets:,} damaged packets skipped")
    if result.seconds < 0.9 * result.duration_seconds - 1 / result.frame_rate:
        parts.append(f"ended at {result.seconds:.1f} s of {result.duration_seconds:.1f} s")
    if result.lost:
        parts.append("the stream was interrupted and could not be resumed")
    echo(", ".join(parts), err=True)


def _print_changes() -> Callable[[Frame], None]:
    """Return what prints a line when a face appears or its label changes."""
    labels: dict[int, str] = {}

    def print_frame(frame: Frame) -> None:
        for tracked in frame.faces:
            if labels.get(tracked.number) != tracked.face.label:
                labels[tracked.number] = tracked.face.label
                echo(f"{frame.time:9.2f} s  face {tracked.number}  {tracked.face.label}  {tracked.face.confidence:.1%}")

    return print_frame
