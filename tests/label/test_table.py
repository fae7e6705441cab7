"""Tables that grow, stop and go on."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from feredge import Face, files
from feredge.errors import PictureError, RunError
from feredge.label import table as table_module
from feredge.label.table import Job, Table, TableState, columns, csv_lines, rows, to_csv

CLASSES = ("no", "yes")


def face(score: float, box: tuple[int, int, int, int] | None = None) -> Face:
    return Face("yes", score, (1 - score, score), CLASSES, box)


def job(count: int = 4, **settings: object) -> Job:
    return Job([f"{number}.png" for number in range(count)], CLASSES, dict(settings))


ANSWERS: list[list[Face] | PictureError] = [
    [face(0.75)],
    [face(0.5, (1, 2, 3, 4)), face(1.0, (5, 6, 7, 8))],
    [],
    PictureError('2.png: "truncated"\nfile'),
]


def whole(path: Path) -> bytes:
    """Write the table in one go and return its bytes."""
    with Table(path, job()) as table:
        for answer in ANSWERS:
            table.add(answer)
        table.finish()
    return path.read_bytes()


def test_rows() -> None:
    """One row a face, one for none, one for an error, all as wide as the header."""
    found = [row for answer in ANSWERS for row in rows("a.png", answer, 2)]
    assert all(len(row) == len(columns(CLASSES)) for row in found)
    assert found[0] == ["a.png", 0, "yes", "0.750000", "", "", "", "", "0.250000", "0.750000", ""]
    assert found[2][:8] == ["a.png", 1, "yes", "1.000000", 5, 6, 7, 8]
    assert found[3][-1] == "no face found" and found[4][-1].startswith("2.png")


@pytest.mark.parametrize(
    "picture", ["a.png", "a,b.png", 'a"b.png', "a\nb.png", "a\rb.png", " ä;.png", "a\udcff.png", ""]
)
@pytest.mark.parametrize("label", ["yes", "not, really", 'so "so"'])
def test_lines_are_those_of_the_csv_writer(picture: str, label: str) -> None:
    """Most are put together without it, for speed; names that need quotes must not be."""
    faces = [Face(label, 1 / 3, (2 / 3, 1 / 3), ("no", label), box) for box in (None, (1, -2, 3, 4))]
    for answer in (faces, faces[:1], [], PictureError("a, b")):
        assert csv_lines(picture, answer, 2) == to_csv(rows(picture, answer, 2))


def test_finished_table_stands_alone(tmp_path: Path) -> None:
    """It reads back, and neither part nor note stay."""
    whole(tmp_path / "t.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    with (tmp_path / "t.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["picture"] for row in found] == ["0.png", "1.png", "1.png", "2.png", "3.png"]
    assert found[-1]["error"] == r'2.png: "truncated"\nfile' and float(found[1]["p_yes"]) == 0.5


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 4])
def test_stopped_table_goes_on(tmp_path: Path, stop: int) -> None:
    """Stopped after any picture, the same job goes on there and ends with the same bytes."""
    wanted = whole(tmp_path / "whole.csv")
    path = tmp_path / "t.csv"
    with pytest.raises(KeyboardInterrupt), Table(path, job()) as table:
        for answer in ANSWERS[:stop]:
            table.add(answer)
        raise KeyboardInterrupt
    assert not path.exists()
    with Table(path, job()) as table:
        assert table.state.pictures == stop
        for answer in ANSWERS[stop:]:
            table.add(answer)
        table.finish()
    assert path.read_bytes() == wanted
    assert table.state == TableState(4, len(wanted), 3, 1)


def test_rows_after_the_last_note_are_cut_off(tmp_path: Path) -> None:
    """A killed process leaves rows, or half of one, that no note speaks of; they are done again."""
    wanted = whole(tmp_path / "whole.csv")
    path = tmp_path / "t.csv"
    with pytest.raises(KeyboardInterrupt), Table(path, job()) as table:
        table.add(ANSWERS[0])
        raise KeyboardInterrupt
    with path.with_name("t.csv.part").open("ab") as part:
        part.write(b"1.png,0,yes,0.5000")
    with Table(path, job()) as table:
        for answer in ANSWERS[table.state.pictures :]:
            table.add(answer)
        table.finish()
    assert path.read_bytes() == wanted


@pytest.mark.parametrize("written", [b"", b"picture,fa", b"all"])
def test_killed_in_the_first_second(tmp_path: Path, written: bytes) -> None:
    """Guards a start again after a kill before the second note: the first one says that no row is safe."""
    path = tmp_path / "t.csv"
    wanted = whole(tmp_path / "whole.csv")
    with Table(path, job()) as table:
        first = table.state_file.read_bytes()
    table.state_file.write_bytes(first)
    table.part.write_bytes(wanted if written == b"all" else written)
    assert whole(path) == wanted


def noted(**changes: object) -> str:
    return json.dumps({"job": job().digest, **asdict(TableState()), **changes})


@pytest.mark.parametrize("note", [None, noted(), noted(bytes=20, pictures=1)])
def test_other_file_in_the_parts_place(tmp_path: Path, note: str | None) -> None:
    """Guards somebody else's `t.csv.part`, a download for one, with no note or one that a killed end left."""
    part = tmp_path / "t.csv.part"
    part.write_text("half of somebody's download")
    if note is not None:
        (tmp_path / "t.csv.part.json").write_text(note)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunError, match="another file"), Table(tmp_path / "t.csv", job()):
        pass
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "pipe", "folder"])
def test_part_that_is_no_file_of_its_own(tmp_path: Path, kind: str) -> None:
    """Guards the file behind a link, which would be cut off, and against waiting for a pipe's reader."""
    part, precious = tmp_path / "t.csv.part", tmp_path / "precious"
    precious.write_bytes(to_csv([columns(CLASSES)]) + b"precious")
    (tmp_path / "t.csv.part.json").write_text(noted())
    if kind == "link":
        part.symlink_to(precious)
    elif kind == "dangling link":
        part.symlink_to(tmp_path / "nowhere")
    elif kind == "hard link":
        part.hardlink_to(precious)
    elif kind == "pipe":
        os.mkfifo(part)
    else:
        part.mkdir()
    with pytest.raises(RunError, match=r"t\.csv\.part: expected"), Table(tmp_path / "t.csv", job()):
        pass
    assert precious.read_bytes().endswith(b"precious") and not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give a file away")
def test_part_of_another_user(tmp_path: Path) -> None:
    """Guards root's table in a folder that others write into."""
    with pytest.raises(KeyboardInterrupt), Table(tmp_path / "t.csv", job()) as table:
        raise KeyboardInterrupt
    os.chown(table.part, 12345, 12345)
    with pytest.raises(RunError, match="another user's file"), Table(tmp_path / "t.csv", job()):
        pass


@pytest.mark.parametrize("kind", ["text", "deep", "link"])
def test_other_file_in_the_notes_place(tmp_path: Path, kind: str) -> None:
    """Guards somebody else's `t.csv.part.json`, which the first note would replace."""
    note, other = tmp_path / "t.csv.part.json", tmp_path / "other.json"
    other.write_text(noted() if kind == "link" else "[" * 4000 if kind == "deep" else '{"mine": 1}')
    if kind == "link":
        note.symlink_to(other)
    else:
        other.rename(note)
    before = note.read_bytes()
    with pytest.raises(RunError, match="expected the state of a table"), Table(tmp_path / "t.csv", job()):
        pass
    assert note.read_bytes() == before and note.is_symlink() == (kind == "link")
    assert not (tmp_path / "t.csv.part").exists()


@pytest.mark.parametrize("other", [job(5), job(4, model="another"), Job(job().pictures, ("a", "b"), {})])
def test_part_of_another_job_is_refused(tmp_path: Path, other: Job) -> None:
    """Other pictures, classes or settings must not be mixed into one table."""
    path = tmp_path / "t.csv"
    with pytest.raises(KeyboardInterrupt), Table(path, job()) as table:
        table.add(ANSWERS[0])
        raise KeyboardInterrupt
    with pytest.raises(RunError, match="was started with other pictures"), Table(path, other):
        pass
    with Table(path, job()) as table:  # the refusal harmed nothing
        assert table.state.pictures == 1


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"job": 1, "pictures": "x"}', '{"job": 1, "bites": 2}'])
def test_damaged_note(tmp_path: Path, note: str) -> None:
    """It says what to remove."""
    (tmp_path / "t.csv.part").write_text("picture")
    (tmp_path / "t.csv.part.json").write_text(note)
    with pytest.raises(RunError, match=r"t\.csv\.part\.json: expected the state"), Table(tmp_path / "t.csv", job()):
        pass


def test_note_beyond_the_part(tmp_path: Path) -> None:
    """A part that lost bytes is not gone on with."""
    note = {"job": job().digest, "pictures": 2, "bytes": 10_000, "faces": 2, "failed": 0}
    (tmp_path / "t.csv.part.json").write_text(json.dumps(note))
    (tmp_path / "t.csv.part").write_text("picture")
    with pytest.raises(RunError), Table(tmp_path / "t.csv", job()):
        pass


@pytest.mark.parametrize("of", [job(), job(5)])
def test_a_note_without_rows_is_no_obstacle(tmp_path: Path, of: Job) -> None:
    """Guards every later start against a kill just before the note goes, when the table has its place already."""
    wanted = whole(tmp_path / "t.csv")
    files.write_json(tmp_path / "t.csv.part.json", {"job": of.digest, **asdict(TableState(4, len(wanted), 3, 1))})
    assert whole(tmp_path / "t.csv") == wanted


def test_two_writers(tmp_path: Path) -> None:
    """A second process on the same table is refused."""
    refused = pytest.raises(RunError, match="another process")
    with Table(tmp_path / "t.csv", job()), refused, Table(tmp_path / "t.csv", job()):
        pass


def test_the_finished_table_is_not_taken_for_its_part(tmp_path: Path) -> None:
    """Guards the table against a start that opened the part just before it became the table: it would be emptied."""
    with Table(tmp_path / "t.csv", job()) as table, table.part.open("ab") as late:
        for answer in ANSWERS:
            table.add(answer)
        table.finish()
        assert files.lock(late.fileno(), table.part) is False


def test_the_lock_is_held_while_parquet_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a second start during the conversion, which can take minutes: it would take the part apart."""
    pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    convert = table_module._to_parquet

    def slowly(part: Path, path: Path, names: list[str]) -> None:
        with pytest.raises(RunError, match="another process"), Table(path, job()):
            pass
        convert(part, path, names)

    monkeypatch.setattr(table_module, "_to_parquet", slowly)
    whole(tmp_path / "t.parquet")


def test_old_table_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """Labelling again does not take the old table away first."""
    path = tmp_path / "t.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), Table(path, job()) as table:
        table.add(ANSWERS[0])
        raise KeyboardInterrupt
    assert path.read_text() == "old"


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """A file name keeps its bytes in the csv."""
    name = os.fsdecode(b"caf\xe9.png")
    assert to_csv(rows(name, ANSWERS[0], 2)).startswith(b"caf\xe9.png,0,yes")
    assert Job([name], CLASSES, {}).digest


def test_names_that_are_no_text_in_parquet(tmp_path: Path) -> None:
    """Guards hours of work: Parquet's text is UTF-8, and the conversion at the end would fail, on every start again."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    name = os.fsdecode(b"caf\xe9.png")
    with Table(tmp_path / "t.parquet", Job([name, name], CLASSES, {})) as table:
        table.add([face(0.5)])
        table.add(PictureError(f"{name}: damaged"))
        table.finish()
    found = parquet.read_table(tmp_path / "t.parquet")
    assert found["picture"].to_pylist() == ["caf\\xe9.png"] * 2
    assert found["error"].to_pylist() == ["", "caf\\xe9.png: damaged"]


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    """One line, whatever the system's reason is; here a file stands where the folder should be."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="expected a writable path"):
        Table(tmp_path / "file" / "t.csv", job()).__enter__()


def test_a_folder_in_the_tables_place(tmp_path: Path) -> None:
    """Guards `--out t.csv` where t.csv is a folder: told before the work, not after it."""
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(RunError, match="expected a file, or nothing there, found a folder"):
        Table(tmp_path / "t.csv", job())


def test_suffix(tmp_path: Path) -> None:
    """`--csv face.png` must not overwrite a picture."""
    with pytest.raises(RunError, match=r"\.csv or \.parquet"):
        Table(tmp_path / "face.png", job())


def test_parquet(tmp_path: Path) -> None:
    """The same rows with types, where pyarrow is installed."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    whole(tmp_path / "t.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]
    table = parquet.read_table(tmp_path / "t.parquet")
    assert table.column_names == columns(CLASSES)
    assert table["face"].to_pylist() == [0, 0, 1, None, None]
    assert table["p_yes"].to_pylist() == [0.75, 0.5, 1.0, None, None]
    assert table["error"].to_pylist()[-1] == r'2.png: "truncated"\nfile'
    assert table["label"].to_pylist()[-1] == "" and table["x"].to_pylist()[:3] == [None, 1, 5]


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said before hours of work, not after."""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(RunError, match="pip install pyarrow"):
        Table(tmp_path / "t.parquet", job())
