"""FER+ votes: matched to the csv's rows, refused when they are another file's."""

from __future__ import annotations

from pathlib import Path

import pytest

from feredge.data import load
from feredge.data.votes import VOTE_COLUMNS, read_votes
from feredge.errors import DataError

CSV_HEADER = "Usage,Image name," + ",".join(VOTE_COLUMNS)


def write(path: Path, *lines: str) -> Path:
    """Write lines to a file."""
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Return a csv of two training rows and a test row."""
    rows = [
        f"{row},{' '.join(['9'] * 2304)},{usage}" for row, usage in enumerate(("Training", "Training", "PublicTest"))
    ]
    return write(tmp_path / "faces.csv", "emotion,pixels,Usage", *rows)


def test_votes_follow_their_rows(tmp_path: Path, faces: Path) -> None:
    """Guards the match by position: a skipped row's votes are skipped with it, and an empty image name is no error."""
    votes = write(
        tmp_path / "votes.csv",
        CSV_HEADER,
        "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0",
        "Training,,0,0,0,0,0,0,0,0,0,10",
        "PublicTest,fer0000002.png,0,10,0,0,0,0,0,0,0,0",
    )
    dataset = load(faces, votes=votes)
    assert dataset.votes is not None and dataset.votes.dtype == "uint8"
    assert dataset.votes.tolist() == [[4, 0, 0, 1, 3, 2, 0, 0, 0, 0], [0] * 9 + [10], [0, 10] + [0] * 8]
    faces.write_text(faces.read_text().replace("\n1,", "\n8,"))
    rest = load(faces, votes=votes, skip_bad_rows=True)
    assert rest.votes is not None and rest.votes.tolist() == [[4, 0, 0, 1, 3, 2, 0, 0, 0, 0], [0, 10] + [0] * 8]
    assert rest.take(rest.labels == 2).votes.tolist() == [[0, 10] + [0] * 8]  # type: ignore[union-attr]  # with votes


VALID_ROW = "Training,a.png,4,0,0,1,3,2,0,0,0,0"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([CSV_HEADER, VALID_ROW], "expected votes for the 3 rows of .*, found 1"),
        (
            [CSV_HEADER, VALID_ROW, VALID_ROW, VALID_ROW],
            "row 3: expected votes for a PublicTest image .*, found Training",
        ),
        ([CSV_HEADER], "expected rows of votes below the header, found none"),
        (
            [CSV_HEADER, VALID_ROW, "Training,b.png,x,0,0,1,3,2,0,0,0,0"],
            "row 2: expected votes from 0 to 10, found 'x'",
        ),
        (
            [CSV_HEADER, VALID_ROW, "Training,b.png,11,0,0,1,3,2,0,0,0,0"],
            "row 2: expected votes from 0 to 10, found '11'",
        ),
        ([CSV_HEADER, VALID_ROW, "Training,b.png,1"], "row 2: expected votes from 0 to 10, found ''"),
        (["emotion,pixels,Usage", VALID_ROW], "expected a header with neutral,.*, found 'emotion,pixels,usage'"),
        ([""], "expected a header with neutral,.*, found 'an empty file'"),
        (['"a', VALID_ROW], "expected a csv of votes, found something else"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, faces: Path, lines: list[str], message: str) -> None:
    """Guards the errors of a wrong, short or damaged file of votes."""
    with pytest.raises(DataError, match=message):
        load(faces, votes=write(tmp_path / "votes.csv", *lines))


def test_no_file_of_votes(tmp_path: Path, faces: Path) -> None:
    """Guards against a traceback for a missing file, bytes that are no text, and sources without csv rows."""
    with pytest.raises(DataError, match="cannot be read"):
        load(faces, votes=tmp_path / "none.csv")
    junk = tmp_path / "junk.csv"
    junk.write_bytes(bytes(range(128, 256)))
    with pytest.raises(DataError, match="expected a csv of votes"):
        read_votes(junk)
    with pytest.raises(DataError, match="expected a csv, because"):
        load("drawn:70", votes=faces)


def test_real_votes(real_data: Path) -> None:
    """Guards the reading of the real file: ten people voted on every picture."""
    dataset = load(real_data / "fer2013.csv", votes=real_data / "fer2013new.csv")
    assert dataset.votes is not None and dataset.votes.shape == (120, 10)
    # Ten people voted; the published counts leave out some votes that no second person shared.
    assert (dataset.votes.sum(axis=1) <= 10).all() and dataset.votes.sum() > 1000
