"""`load`: read a data set from any kind of source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from feredge import files
from feredge.data import cache as table_cache
from feredge.data.dataset import Dataset
from feredge.data.drawn import drawn
from feredge.data.drawn_shapes import drawn_shapes
from feredge.data.fer2013_csv import CsvTable, read_csv
from feredge.data.folders import read_folder
from feredge.data.source_pictures import SourcePictures
from feredge.data.votes import read_votes
from feredge.errors import DataError
from feredge.inference.contract import CLASSES, InputContract

DRAWN_SOURCES: dict[str, Callable[..., Dataset]] = {"drawn": drawn, "drawn-shapes": drawn_shapes}


def load(
    source: str | Path,
    *,
    size: int = 48,
    channels: int = 1,
    votes: Path | None = None,
    skip_bad_rows: bool = False,
    cache: bool = True,
) -> Dataset:
    """Read a data set.

    Args:
        source: a FER2013 csv; a folder of class folders; `drawn:N` for N drawn faces, gray; or `drawn-shapes:N` for N
            drawn shapes in colour. `:N` may be left out, and a file of that name is `./drawn`.
        size: height and width of the images; pictures of other sizes are resized by `InputContract.to_tensor`.
        channels: 1 for gray images, 3 for RGB; pictures of the other kind are converted likewise.
        votes: csv with the FER+ votes of a csv's rows, `fer2013new.csv`.
        skip_bad_rows: skip malformed csv rows and unreadable pictures, and count them in `Dataset.skipped`.
        cache: read and write the parsed csv in the user's cache folder (see `feredge.data.cache`).

    Raises:
        DataError: no such source, or a malformed one; a malformed row or unreadable picture is named.
        RunError: a cache folder that others may open.
    """
    path, contract = Path(source), InputContract(size, size, channels)
    if votes is not None and (path.is_dir() or _is_drawn(source)):
        raise DataError(f"{source}: expected a csv, because {votes} is matched to its rows")
    if _is_drawn(source):
        dataset = _drawn(str(source))
    elif path.is_dir():
        return read_folder(path, contract=contract, skip_bad_pictures=skip_bad_rows)
    elif path.is_file():
        dataset = _csv(path, votes, skip_bad_rows=skip_bad_rows, cache=cache)
    else:
        raise DataError(f"{source}: expected a csv file, a folder or the word drawn, found none of them")
    if dataset.images.shape[1:] == contract.shape:
        return dataset
    return replace(dataset, images=contract.to_batch(dataset.images, color="rgb"))


def _is_drawn(source: str | Path) -> bool:
    return isinstance(source, str) and source.partition(":")[0] in DRAWN_SOURCES


def _drawn(source: str) -> Dataset:
    name, colon, count = source.partition(":")
    draw = DRAWN_SOURCES[name]
    if not colon:
        return draw()
    if not (count.isascii() and count.isdigit() and len(count) < 10):
        raise DataError(f"{source}: expected {name}:N with a number of pictures")
    return draw(int(count))


def _csv(path: Path, votes: Path | None, *, skip_bad_rows: bool, cache: bool) -> Dataset:
    table = _table(path, skip_bad_rows=skip_bad_rows, cache=cache)
    dataset = Dataset(
        images=table.images[..., None],
        labels=table.labels,
        usage=table.usage,
        rows=table.rows,
        classes=CLASSES,
        digest=table.digest,
        source=str(path),
        skipped=table.total - len(table.rows),
        pictures=SourcePictures(0.0, *table.images.shape[1:]),
    )
    return dataset if votes is None else _with_votes(dataset, votes, table.total)


def _table(path: Path, *, skip_bad_rows: bool, cache: bool) -> CsvTable:
    if not cache:
        return read_csv(path, skip_bad_rows=skip_bad_rows)
    try:
        table = table_cache.fetch(files.sha256(path))
    except OSError as error:
        raise DataError(f"{path}: expected a csv, cannot be read ({error.strerror})") from error
    if table is None:
        table = read_csv(path, skip_bad_rows=skip_bad_rows)
        table_cache.store(table)
    return table


def _with_votes(dataset: Dataset, path: Path, total: int) -> Dataset:
    """Add FER+ votes, matched by row number; usages must agree where both files have them."""
    votes, usages = read_votes(path)
    if len(votes) != total:
        raise DataError(f"{path}: expected votes for the {total} rows of {dataset.source}, found {len(votes)}")
    usage = np.array(usages)[dataset.rows]
    differ = (usage != dataset.usage) & (usage != "") & (dataset.usage != "")
    if differ.any():
        first = int(differ.argmax())
        raise DataError(
            f"{path}: row {dataset.rows[first] + 1}: expected votes for a {dataset.usage[first]} image as in "
            f"{dataset.source}, found {usage[first]}; both files must have the same rows in the same order"
        )
    return replace(dataset, votes=votes[dataset.rows])
