"""`feredge predict`: the faces in pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

import feredge
from feredge.commands.predicting import bar, mark_resumable, print_labels, with_predictor_options
from feredge.commands.shared import PATH_TYPE
from feredge.console import echo, echo_json, escape_control, write_data
from feredge.errors import PictureError

if TYPE_CHECKING:
    from feredge.api.predicting import PicturePrediction
    from feredge.api.predictor_options import PredictorOptions

MAX_NAME_WIDTH = 60  # of the column of pictures


@click.command("predict")
@click.argument("pictures", nargs=-1, type=click.Path())
@click.option("--list", "lists", multiple=True, type=PATH_TYPE, help="Text file with one picture path per line.")
@with_predictor_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per picture, one per line.")
@click.option("--csv", "table", type=PATH_TYPE, help="Write a table, .csv or .parquet; - prints it.")
@click.option("--annotate", type=PATH_TYPE, metavar="FOLDER", help="Write copies with boxes and labels to this folder.")
def command(
    pictures: tuple[str, ...],
    lists: tuple[Path, ...],
    as_json: bool,
    table: Path | None,
    annotate: Path | None,
    options: PredictorOptions,
) -> None:
    """Classify the expressions of the faces in pictures.

    PICTURES are files and folders. After an interruption, the same command resumes a table (--csv). `feredge track` is
    for videos and cameras, `feredge submit` for a csv of faces, `feredge label` for very many pictures.
    """
    if as_json and table:
        raise click.UsageError("expected --json or --csv, found both")
    if table is not None and str(table) != "-":
        mark_resumable()
        with bar() as progress:
            result = feredge.label(
                pictures, out=table, lists=lists, options=options, annotate=annotate, progress=progress
            )
        print_labels(result)
        return
    from feredge.api.predicting import list_pictures, stream_predictions

    with options.open() as predictor:
        names = list_pictures(pictures, lists=lists, annotate=annotate)
        predictions = stream_predictions(predictor, names, options, annotate=annotate)
        if as_json:
            failed = _print_json(predictions)
        elif table:
            failed = _print_csv(predictions, predictor.classes)
        else:
            failed = _print_lines(predictions, predictor.classes, names)
    if failed == len(names):
        raise PictureError("expected pictures, none could be used")


def _print_lines(predictions: Iterator[PicturePrediction], classes: tuple[str, ...], pictures: Sequence[str]) -> int:
    """Print one line per face; return how many pictures could not be used."""
    width = min(MAX_NAME_WIDTH, max(len(escape_control(picture)) for picture in pictures))
    label_width = max(len(escape_control(name)) for name in classes)
    failed = faces = 0
    for one in predictions:
        name = escape_control(one.picture)
        faces += len(one.faces)
        if one.error is not None:
            failed += 1
            echo(f"error: {one.error}", err=True)
        elif not one.faces:
            echo(f"{name:<{width}}  no face found")
        for face in one.faces:
            box = "" if face.box is None else "  at {},{}  {}x{}".format(*face.box)
            echo(f"{name:<{width}}  {escape_control(face.label):<{label_width}}  {face.confidence:6.1%}{box}")
    if failed < len(pictures) and not faces:
        echo("no face found in any picture; if each is one cropped face, use --cropped", err=True)
    return failed


def _print_json(predictions: Iterator[PicturePrediction]) -> int:
    failed = 0
    for one in predictions:
        failed += one.error is not None
        faces = [face.to_dict() for face in one.faces]
        echo_json({"picture": one.picture, "faces": faces, "error": one.error})
    return failed


def _print_csv(predictions: Iterator[PicturePrediction], classes: tuple[str, ...]) -> int:
    from feredge.label.table import columns, csv_lines, to_csv

    write_data(to_csv([columns(classes)]))
    failed = 0
    for one in predictions:
        failed += one.error is not None
        answer = list(one.faces) if one.error is None else PictureError(one.error)
        write_data(csv_lines(one.picture, answer, len(classes)))
    return failed
