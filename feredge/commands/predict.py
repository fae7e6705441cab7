"""`feredge predict`: pictures, a video or a camera."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from feredge.commands.predicting import PREDICTOR, bar, open_predictor, write_table
from feredge.commands.shared import PATH, SKIP
from feredge.console import echo, echo_json, visible, write_data
from feredge.errors import PictureError

if TYPE_CHECKING:
    from feredge.inference.predictor import Predictor
    from feredge.label.video_output import Frame


HOW = {"model", "threads", "yunet", "face", "margin"}
MOVING = HOW | {"table", "out", "show", "smooth", "skip", "hold_rate"}
FITS = {  # what each kind of work looks at; it would pass over anything else without a word
    "pictures": HOW | {"pictures", "lists", "as_json", "table", "annotate"},
    "--video": MOVING | {"video", "reconnect"},
    "--camera": MOVING | {"camera"},
    "--data": {"pictures", "model", "threads", "data", "submission", "skip_bad_rows"},
}


@click.command("predict")
@click.argument("pictures", nargs=-1, type=click.Path())
@click.option("--list", "lists", multiple=True, type=PATH, help="A text file of one picture a line.")
@PREDICTOR
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a picture on a line of its own.")
@click.option("--csv", "table", type=PATH, help="Write a table: .csv; of pictures also .parquet, or - to print it.")
@click.option("--annotate", type=PATH, metavar="FOLDER", help="Write copies with boxes and labels into this folder.")
@click.option("--video", metavar="FILE", help="Follow the faces in a video, or a stream's address, instead.")
@click.option("--data", type=PATH, metavar="CSV", help="Name the faces in a FER2013 csv; PICTURES is a model then.")
@click.option("--submission", type=PATH, metavar="CSV", help="Write id,emotion for every row of --data.")
@SKIP
@click.option(
    "--camera", type=click.IntRange(0), metavar="N", help="Follow the faces that a camera sees instead; Ctrl-C ends."
)
@click.option("--out", type=PATH, help="Write the video with boxes and labels.")
@click.option("--show", is_flag=True, help="Show the video in a window; q ends.")
@click.option("--smooth", type=click.FloatRange(0), metavar="SECONDS", help="Average over time.  [default: 0.5]")
@click.option("--skip", type=click.IntRange(0), default=0, metavar="N", help="Skip N frames after each look.")
@click.option(
    "--reconnect",
    type=click.FloatRange(0),
    default=30.0,
    metavar="SECONDS",
    help="Try a network stream that broke off again for so long.  [default: 30]",
)
@click.option("--hold-rate", is_flag=True, help="Skip frames wherever looking is slower than the video.")
def command(
    pictures: tuple[str, ...],
    lists: tuple[Path, ...],
    video: str | None,
    camera: int | None,
    data: Path | None,
    submission: Path | None,
    skip_bad_rows: bool,
    model: Path | None,
    threads: int | None,
    yunet: Path | None,
    **options: Any,
) -> None:
    """Name the expressions of the faces in pictures, a video, or before a camera.

    PICTURES are files and folders. A table (--csv) that was stopped goes on with the same command.

    feredge predict MODEL --data test.csv --submission out.csv answers an unlabelled csv.
    """
    if data is not None or submission is not None:
        _check("--data")
        _submission(pictures, model, threads, data, submission, skip_bad_rows)
        return
    if bool(pictures or lists) + (video is not None) + (camera is not None) != 1:
        raise click.UsageError("expected pictures, --video or --camera, and one of them only")
    kind = "--video" if video is not None else "--camera" if camera is not None else "pictures"
    _check(kind)
    for one, other in (("as_json", "table"), ("skip", "hold_rate")):
        if options[one] and options[other]:
            raise click.UsageError(f"expected {_option(one)} or {_option(other)}, found both")
    margin, detect = options.pop("margin") / 100, not options.pop("face")
    options = {name: value for name, value in options.items() if name in FITS[kind]}
    with open_predictor(model, threads, yunet) as predictor:
        if kind == "pictures":
            _pictures(predictor, pictures, lists, detect=detect, margin=margin, **options)
        else:
            _video(predictor, camera if video is None else video, detect=detect, margin=margin, **options)


def _check(kind: str) -> None:
    """Refuse options that this kind of work would not look at."""
    context = click.get_current_context()
    for name in context.params:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE and name not in FITS[kind]:
            raise click.UsageError(f"{_option(name)} does not go with {kind}")


def _option(name: str) -> str:
    """Return an option as it is typed."""
    return next(one.opts[0] for one in command.params if one.name == name)


def _submission(
    models: tuple[str, ...],
    model: Path | None,
    threads: int | None,
    data: Path | None,
    submission: Path | None,
    skip_bad_rows: bool,
) -> None:
    from feredge.label.submit import submit

    if data is None or submission is None:
        raise click.UsageError("expected --data and --submission together")
    if len(models) + (model is not None) > 1:
        raise click.UsageError(f"expected one model beside --data, found {len(models) + (model is not None)}")
    with (
        open_predictor(Path(models[0]) if models else model, threads, None, reads_pictures=False) as predictor,
        bar() as progress,
    ):
        rows = submit(predictor, data, submission, skip_bad_rows=skip_bad_rows, progress=progress)
    echo(f"{rows:,} rows: {submission}")


def _pictures(
    predictor: Predictor,
    paths: tuple[str, ...],
    lists: tuple[Path, ...],
    *,
    detect: bool,
    margin: float,
    as_json: bool,
    table: Path | None,
    annotate: Path | None,
) -> None:
    from feredge.label.draw import AnnotatedFolder
    from feredge.label.sources import describe_skipped, list_pictures

    left_out = Counter[str]()
    pictures = list_pictures(paths, lists=lists, exclude=annotate, skipped=left_out)
    if left_out:
        echo(describe_skipped(left_out), err=True)
    folder = AnnotatedFolder(annotate, pictures) if annotate else None
    if table is not None and str(table) != "-":
        write_table(predictor, pictures, table, detect=detect, margin=margin, on_result=folder.add if folder else None)
        return
    say = _say_json if as_json else _say_csv if table else _say_lines
    if say(_answers(predictor, pictures, detect, margin, folder), predictor.classes, pictures) == len(pictures):
        raise PictureError("expected pictures, none could be used")


def _answers(predictor: Predictor, pictures: list[str], detect: bool, margin: float, folder: Any) -> Iterator[Any]:
    for picture, answer in zip(pictures, predictor.stream(pictures, detect=detect, margin=margin), strict=True):
        if folder is not None:
            folder.add(picture, answer)
        yield picture, answer


def _say_lines(answers: Iterator[Any], classes: tuple[str, ...], pictures: list[str]) -> int:
    width = min(60, max(len(visible(picture)) for picture in pictures))
    longest = max(len(visible(name)) for name in classes)
    failed = named = 0
    for picture, answer in answers:
        name = visible(picture)
        if isinstance(answer, PictureError):
            failed += 1
            echo(f"error: {answer}", err=True)
        elif not answer:
            echo(f"{name:<{width}}  no face found")
        else:
            named += len(answer)
        for face in [] if isinstance(answer, PictureError) else answer:
            box = "" if face.box is None else "  at {},{}  {}x{}".format(*face.box)
            echo(f"{name:<{width}}  {visible(face.label):<{longest}}  {face.confidence:6.1%}{box}")
    if failed < len(pictures) and not named:
        echo("no face found in any; where each picture is one face, say so with --face", err=True)
    return failed


def _say_json(answers: Iterator[Any], classes: tuple[str, ...], pictures: list[str]) -> int:
    failed = 0
    for picture, answer in answers:
        bad = isinstance(answer, PictureError)
        failed += bad
        faces = [] if bad else [face.to_dict() for face in answer]
        echo_json({"picture": picture, "faces": faces, "error": str(answer) if bad else None})
    return failed


def _say_csv(answers: Iterator[Any], classes: tuple[str, ...], pictures: list[str]) -> int:
    from feredge.label.table import columns, csv_lines, to_csv

    write_data(to_csv([columns(classes)]))
    failed = 0
    for picture, answer in answers:
        failed += isinstance(answer, PictureError)
        write_data(csv_lines(picture, answer, len(classes)))
    return failed


def _video(
    predictor: Predictor,
    source: str | int | None,
    *,
    smooth: float | None,
    skip: int,
    hold_rate: bool,
    reconnect: float = 0.0,
    **options: Any,
) -> None:
    from feredge.label.track import EveryNth, Realtime, track_video
    from feredge.label.tracker import Tracker
    from feredge.label.video import Video

    assert source is not None
    video = Video(source, reconnect=reconnect, notify=lambda line: echo(line, err=True))
    sampler = Realtime() if hold_rate or (video.live and not skip) else EveryNth(skip + 1)
    tracker = Tracker() if smooth is None else Tracker(smoothing_seconds=smooth)
    on_frame = None if options["table"] or options["show"] else _say_changes()
    with bar() as progress:
        done = track_video(
            predictor, video, tracker=tracker, sampler=sampler, on_frame=on_frame, progress=progress, **options
        )
    parts = [f"{done.frames:,} frames", f"{done.analyzed:,} analyzed", f"{done.faces:,} faces followed"]
    if done.damaged:
        parts.append(f"{done.damaged:,} damaged and left out")
    if done.seconds < 0.9 * video.duration - 1 / video.frame_rate:
        parts.append(f"ended at {done.seconds:.1f} s of {video.duration:.1f} s")
    if video.lost:
        parts.append("the stream broke off and did not come back")
    echo(", ".join(parts), err=True)


def _say_changes() -> Callable[[Frame], None]:
    """Return what prints a line when a face appears or another label is given to it."""
    last: dict[int, str] = {}

    def say(frame: Frame) -> None:
        for tracked in frame.faces:
            if last.get(tracked.number) != tracked.face.label:
                last[tracked.number] = tracked.face.label
                echo(f"{frame.time:9.2f} s  face {tracked.number}  {tracked.face.label}  {tracked.face.confidence:.1%}")

    return say
