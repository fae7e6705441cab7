"""Predictions for an unlabelled csv of faces, in the submission format of Kaggle's challenge."""

from __future__ import annotations

import csv
from pathlib import Path

from feredge import files
from feredge.data import load
from feredge.data.fer2013_csv import read_ids
from feredge.errors import ArtifactError, DataError
from feredge.inference.contract import CLASSES
from feredge.inference.predictor import Predictor
from feredge.progress import Progress, quiet

SUBMISSION_BATCH = 1024


def submit(
    predictor: Predictor, source: Path, out: Path, *, skip_bad_rows: bool = False, progress: Progress = quiet
) -> int:
    """Write `id,emotion` for every row of a csv; return the number of rows. Emotions are FER2013's labels, 0 to 6.

    Args:
        predictor: classifies the faces; a network of FER2013's seven classes in any order.
        source: csv with `pixels` and, in any order, `id`, `emotion`, `Usage`. Without an `id` column the row number,
            from 0, is the id. `emotion` is ignored.
        out: the csv to write.
        skip_bad_rows: skip bad rows.
        progress: called with the number of rows done.

    Raises:
        ArtifactError: a network of other classes.
        DataError: an invalid csv, or one that `out` would overwrite.
    """
    if set(predictor.classes) != set(CLASSES):
        raise ArtifactError(
            f"{predictor.path}: expected the classes {', '.join(CLASSES)}, found {', '.join(predictor.classes)}"
        )
    if source.is_dir():
        raise DataError(f"{source}: expected a csv, found a folder")
    files.check_target(out)
    if files.same_file(out, source):
        raise DataError(f"{out}: expected another file than the csv itself")
    dataset = load(source, skip_bad_rows=skip_bad_rows)
    ids = read_ids(source)
    with files.replacing(out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "emotion"])
        for start in range(0, len(dataset), SUBMISSION_BATCH):
            faces = predictor.batch(dataset.images[start : start + SUBMISSION_BATCH])
            rows = dataset.rows[start : start + SUBMISSION_BATCH].tolist()
            writer.writerows(
                (ids[row] if ids else row, CLASSES.index(face.label)) for row, face in zip(rows, faces, strict=True)
            )
            progress("rows", start + len(rows), len(dataset))
    return len(dataset)
