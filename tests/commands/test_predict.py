"""`feredge predict` as it is typed."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import cv2
import pytest
from click.testing import CliRunner, Result
from device_models import draw_frame, faces

from feredge import CLASSES, Predictor, cli


@pytest.fixture
def feredge(small_onnx: Path) -> Any:
    """Call `feredge predict --model small.onnx ...` and return what click saw."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(cli.main, ["predict", "--model", str(small_onnx), *map(str, arguments)])

    return call


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a face, a frame of two faces, an empty frame and a text named .png."""
    folder = tmp_path / "in"
    folder.mkdir()
    cv2.imwrite(str(folder / "face.png"), faces(1)[0])
    cv2.imwrite(str(folder / "frame.png"), draw_frame()[0])
    (folder / "text.png").write_text("no picture")
    return folder


def test_no_face_anywhere(feredge: Any, pictures: Path) -> None:
    """Whoever gives face crops is told of --cropped; who gives frames is not."""
    assert "use --cropped" in feredge(pictures / "face.png").output
    assert "use --cropped" not in feredge(pictures / "face.png", pictures / "frame.png").output


def test_lines(feredge: Any, pictures: Path) -> None:
    """One line a face, with its box; what cannot be used goes to standard error, and the rest still counts."""
    done = feredge(pictures)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0].rsplit("/", 1)[1] for line in lines] == ["face.png", "frame.png", "frame.png"]
    assert lines[0].endswith("no face found") and "%" in lines[1] and " at " in lines[1]
    assert done.stderr.startswith("error: ") and "text.png" in done.stderr and done.stderr.count("\n") == 1


def test_face(feredge: Any, pictures: Path, small_onnx: Path) -> None:
    """With --cropped nothing is looked for."""
    done = feredge("--cropped", pictures / "face.png")
    with Predictor(small_onnx) as predictor:
        face = predictor(pictures / "face.png")
    assert done.stdout.split()[1:] == [face.label, f"{face.confidence:.1%}"]


def test_json(feredge: Any, pictures: Path, small_onnx: Path) -> None:
    """One object a line, with the Predictor's own figures."""
    done = feredge("--json", pictures)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    with Predictor(small_onnx) as predictor:
        wanted = [face.to_dict() for face in predictor.frame(pictures / "frame.png")]
    assert [row["picture"].rsplit("/", 1)[1] for row in found] == ["face.png", "frame.png", "text.png"]
    assert found[1]["faces"] == wanted and found[1]["error"] is None
    assert found[2]["faces"] == [] and "text.png" in found[2]["error"]


def test_csv_file_and_csv_printed(feredge: Any, pictures: Path, tmp_path: Path) -> None:
    """Both hold the same rows."""
    done = feredge("--csv", tmp_path / "t.csv", pictures)
    assert done.exit_code == 0 and "3 pictures, 2 faces, 1 could not be used" in done.stdout
    printed = feredge("--csv", "-", pictures).stdout
    assert (tmp_path / "t.csv").read_text() == printed
    rows = list(csv.DictReader(printed.splitlines()))
    assert len(rows) == 4 and all(f"p_{name}" in rows[0] for name in CLASSES)


def test_annotate(feredge: Any, pictures: Path, tmp_path: Path) -> None:
    """Copies appear beside every kind of output, also beside a table."""
    for number, options in enumerate(((), ("--json",), ("--csv", tmp_path / "t.csv"))):
        out = tmp_path / f"out{number}"
        assert feredge(*options, "--annotate", out, pictures).exit_code == 0
        assert sorted(path.name for path in out.iterdir()) == ["face.png", "frame.png"]


def test_a_table_beside_copies_among_the_pictures_goes_on(feredge: Any, pictures: Path, tmp_path: Path) -> None:
    """Guards the same command again: the copies of the first start are not pictures of the second."""
    command = ("--csv", tmp_path / "t.csv", "--annotate", pictures / "out", pictures)
    for _ in range(2):
        assert "3 pictures, 2 faces" in feredge(*command).stdout


def test_a_name_that_is_no_text(feredge: Any, pictures: Path) -> None:
    """Guards printing: standard output may be strict, and one such name would end the command."""
    odd = Path(os.fsdecode(os.fsencode(pictures / "caf") + b"\xe9.png"))
    odd.write_bytes((pictures / "face.png").read_bytes())
    done = feredge("--cropped", odd)
    assert done.exit_code == 0 and b"caf\\udce9.png" in done.stdout_bytes
    table = feredge("--cropped", odd, "--csv", "-")
    assert table.exit_code == 0 and b"caf\xe9.png" in table.stdout_bytes, "data for programs keep the name's bytes"


def test_ctrl_c_promises_only_what_is_true(feredge: Any, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the last line: a table goes on, pictures that were only printed do not."""

    def stop(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "stream", stop)
    done = feredge(pictures)
    assert (done.exit_code, done.stderr) == (130, "error: stopped\n")
    done = feredge("--csv", pictures / "t.csv", pictures)
    assert (done.exit_code, done.stderr) == (130, "error: stopped; the same command resumes from here\n")


def test_list(feredge: Any, pictures: Path) -> None:
    """A list of pictures in place of arguments."""
    (pictures / "list.txt").write_text("frame.png\nface.png\n")
    done = feredge("--cropped", "--list", pictures / "list.txt")
    assert [line.split()[0].rsplit("/", 1)[1] for line in done.stdout.splitlines()] == ["frame.png", "face.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected pictures"),
        (["--json", "--csv", "-", "{in}/face.png"], "--json or --csv, found both"),
        (["--skip-bad-rows", "{in}/face.png"], "--skip-bad-rows"),
        (["none.png"], "none.png: expected a picture"),
        (["--model", "none.onnx", "x.png"], "none.onnx: expected a model"),
        (["--csv", "{in}/face.png", "{in}/face.png"], "ends in .csv or .parquet"),
        (["--annotate", "{in}", "{in}/face.png"], "another folder"),
        (["--cropped", "{in}/text.png"], "none could be used"),
        (["--yunet", "none.onnx", "{in}/face.png"], "none.onnx: expected a YuNet file"),
        (["--margin", "900", "{in}/face.png"], "--margin"),
    ],
)
def test_bad_input(feredge: Any, pictures: Path, arguments: list[str], words: str) -> None:
    """Each exits with code 2 and says what was expected; nothing is overwritten."""
    before = (pictures / "face.png").read_bytes()
    done = feredge(*[argument.replace("{in}", str(pictures)) for argument in arguments])
    assert done.exit_code == 2, done.output
    assert words in done.stderr and "Traceback" not in done.output
    assert (pictures / "face.png").read_bytes() == before
