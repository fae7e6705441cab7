"""`feredge label` as it is typed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
from click.testing import CliRunner, Result
from device_models import faces

from feredge import cli
from feredge.inference.pictures import opencv


@pytest.fixture
def feredge(small_onnx: Path) -> Any:
    """Call `feredge COMMAND --model small.onnx ...` and return what click saw."""

    def call(command: str, *arguments: object) -> Result:
        return CliRunner().invoke(cli.main, [command, "--model", str(small_onnx), *map(str, arguments)])

    return call


def test_same_table_as_predict(feredge: Any, tmp_path: Path) -> None:
    """Both commands write the same rows for a folder."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, picture in enumerate(faces(5)):
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    done = feredge("label", "--cropped", "--out", tmp_path / "a.csv", folder)
    assert done.exit_code == 0 and "5 pictures, 5 faces" in done.stdout
    assert feredge("predict", "--cropped", "--csv", tmp_path / "b.csv", folder).exit_code == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "t.csv"], "expected pictures"),
        (["a.png"], "--out"),
        (["--out", "t.csv", "--address", "auto", "a.png"], "--address requires --engine ray"),
        (["--out", "t.csv", "--workers", "2", "a.png"], "--workers requires --engine ray"),
        (["--out", "t.csv", "--engine", "ray", "--threads", "2", "a.png"], "--threads requires --engine threads"),
        (["--out", "t.csv", "--engine", "spark", "a.png"], "--engine"),
        (["--out", "t.txt", "{here}"], "ends in .csv or .parquet"),
    ],
)
def test_bad_input(feredge: Any, tmp_path: Path, arguments: list[str], words: str) -> None:
    """Each exits with code 2 and says what was expected."""
    (tmp_path / "a.png").touch()
    done = feredge("label", *[argument.replace("{here}", str(tmp_path)) for argument in arguments])
    assert done.exit_code == 2 and words in done.stderr


def test_a_broken_opencv_is_told_once(feredge: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a table of nothing but the same error, on a system that lacks OpenCV's libraries."""
    cv2.imwrite(str(tmp_path / "a.png"), faces(1)[0])
    monkeypatch.setitem(sys.modules, "cv2", None)
    opencv.cache_clear()
    done = feredge("label", "--cropped", "--out", tmp_path / "t.csv", tmp_path / "a.png")
    assert done.exit_code == 2 and done.stderr.startswith("error: OpenCV cannot be imported") and not done.stdout
    assert not (tmp_path / "t.csv").exists()
