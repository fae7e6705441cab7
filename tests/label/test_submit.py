"""Answers for a csv without labels: every row, its own id, FER2013's numbers."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from device_models import card, write_onnx

from feredge import CLASSES, Predictor, cli
from feredge.data.drawn import drawn
from feredge.errors import ArtifactError, DataError
from feredge.label.submit import submit


def write(path: Path, header: str, rows: list[str]) -> Path:
    """Write a csv of text rows."""
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def pixels() -> list[str]:
    """Drawn faces as cells of pixels."""
    return [" ".join(map(str, image.ravel())) for image in drawn(70, 1).images[:5]]


def read(path: Path) -> list[list[str]]:
    """Return a csv's rows."""
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_every_row_by_its_id(tmp_path: Path, pixels: list[str], small_onnx: Path) -> None:
    """Guards against answers that stand beside another row's id, blank lines and quotes included."""
    rows = [f'{100 - number},0,"{cell}"' for number, cell in enumerate(pixels)]
    source = write(tmp_path / "test.csv", "id,emotion,pixels", [*rows[:2], "", *rows[2:]])
    with Predictor(small_onnx) as predictor:
        assert submit(predictor, source, tmp_path / "out.csv") == 5
        named = predictor.batch([np.array(cell.split(), np.uint8).reshape(48, 48) for cell in pixels])
    expected = [[str(100 - number), str(CLASSES.index(face.label))] for number, face in enumerate(named)]
    assert read(tmp_path / "out.csv") == [["id", "emotion"], *expected]


def test_without_ids_rows_go_by_their_number_and_bad_ones_can_be_left_out(
    tmp_path: Path, pixels: list[str], small_onnx: Path
) -> None:
    """Guards the numbering where a bad row was skipped."""
    source = write(tmp_path / "test.csv", "pixels", [pixels[0], "1 2 3", pixels[1]])
    with Predictor(small_onnx) as predictor:
        with pytest.raises(DataError, match="row 2"):
            submit(predictor, source, tmp_path / "out.csv")
        assert not (tmp_path / "out.csv").exists()
        assert submit(predictor, source, tmp_path / "out.csv", skip_bad_rows=True) == 2
    assert [row[0] for row in read(tmp_path / "out.csv")] == ["id", "0", "2"]


def test_a_network_of_other_classes_is_refused(tmp_path: Path, pixels: list[str]) -> None:
    """Guards against a submission whose numbers mean other classes."""
    three = card(classes=("happy", "sad", "neutral"))
    model = write_onnx(tmp_path / "three.onnx", with_card=three, outputs=3)
    source = write(tmp_path / "test.csv", "pixels", pixels)
    with Predictor(model) as predictor, pytest.raises(ArtifactError, match="expected the classes angry"):
        submit(predictor, source, tmp_path / "out.csv")


def test_the_csv_is_not_replaced_by_its_answers(tmp_path: Path, pixels: list[str], small_onnx: Path) -> None:
    """Guards `submit test.csv --out test.csv`."""
    source = write(tmp_path / "test.csv", "pixels", pixels)
    before = source.read_bytes()
    with Predictor(small_onnx) as predictor, pytest.raises(DataError, match="another file than the csv"):
        submit(predictor, source, source)
    assert source.read_bytes() == before


def test_as_it_is_typed(tmp_path: Path, pixels: list[str], small_onnx: Path) -> None:
    """Guards the command: without a place to write to it is a mistake."""
    source, out = write(tmp_path / "test.csv", "pixels", pixels), tmp_path / "out.csv"
    command = ["submit", str(source), "--model", str(small_onnx)]
    done = CliRunner().invoke(cli.main, [*command, "--out", str(out)])
    assert done.exit_code == 0
    assert len(read(out)) == 6
    assert CliRunner().invoke(cli.main, command).exit_code == 2
