"""`feredge bench` and `feredge report` at the command line: many targets, faces or none, one line for bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from toy_workshop import Workshop, build, write_onnx

from feredge.artifact import Manifest, entry
from feredge.bench import Results, harness, runners
from feredge.cli import main
from feredge.commands import measuring
from feredge.runtime import open_artifact


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Drawn faces and two ONNX files."""
    return build(tmp_path_factory.mktemp("toys"))


@pytest.fixture(autouse=True)
def known_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine's peak takes two seconds to measure."""
    monkeypatch.setattr(harness, "peaks", lambda: {"float32": 4e10, "int8": 1e11})


def feredge(*arguments: object) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result: Result, *words: str) -> None:
    """Check for code 2 and one line of error."""
    assert result.exit_code == 2, result.output
    line = result.stderr.strip().splitlines()[-1]
    assert all(word in line for word in words), line
    assert "Traceback" not in result.output


@pytest.fixture
def models(toys: Workshop, tmp_path: Path) -> Path:
    """A folder of exported files, as models/NAME is."""
    folder = tmp_path / "toy"
    folder.mkdir()
    paths = [Path(shutil.copy(toys.folder / name, folder)) for name in ("dense.float32.onnx", "rough.int8.onnx")]
    Manifest(tuple(entry(path, open_artifact(path).card, {}) for path in paths)).write(folder)
    return folder


def test_a_folder_with_faces_or_without(models: Path, tmp_path: Path) -> None:
    """Guards the whole way: threads and batches asked for, results, faces on the page, and none when so asked."""
    asked = ("--data", "drawn:700", "--quick", "--batch", "1,8", "--threads", "2", "--out", tmp_path / "out")
    done = feredge("bench", models, *asked)
    assert done.exit_code == 0, done.output
    file, page = tmp_path / "out" / "results.json", tmp_path / "out" / "report.html"
    results = Results.read(file)
    assert [row.name for row in results.rows] == ["dense.float32.onnx", "rough.int8.onnx"]
    assert results.effort.threads == (1, 2) and results.effort.batches == (1, 8)
    row = results.rows[1]
    assert row.failure is None and [one.threads for one in row.latency] == [1, 2]
    assert [one.batch for one in row.latency[0].throughput] == [1, 8]
    assert str(tmp_path) not in results.again and results.again.startswith("feredge ")
    assert file.with_suffix(".npz").is_file()
    assert row.drop is not None and row.drop.flipped
    assert f'"{row.drop.flipped[0][0]}":"iVBOR' in page.read_text(encoding="utf-8"), "a PNG by its row in the data"
    again = feredge("report", file, "--html", page, "--data", "drawn:700", "--no-faces")
    assert again.exit_code == 0 and '"faces":{}' in page.read_text(encoding="utf-8")
    assert feredge("report", file, "--html", page, "--data", "drawn:700").exit_code == 0
    assert "iVBOR" in page.read_text(encoding="utf-8")
    refused(feredge("report", file, "--html", page, "--data", "drawn:70"), "expected the data of the results")
    both = feredge("report", file, tmp_path / "out", "--html", tmp_path / "both.html")
    assert both.exit_code == 0 and "B against A" in (tmp_path / "both.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--quick", "--strict"], ["exclude each other"]),
        (["--threads", "0,2"], ["whole numbers from 1 up", "'0,2'"]),
        (["--batch", "1, 8"], ["whole numbers from 1 up"]),
        (["--also", "openvc"], ["xnnpack-off, opencv, tflite-micro", "'openvc'"]),
        (["--pixels", "1..1"], ["-1..1", "'1..1'"]),
        (["--data", "nowhere.csv"], ["nowhere.csv"]),
        ([], ["--data"]),
    ],
)
def test_wrong_options_say_what_was_expected(toys: Workshop, options: list[str], words: list[str]) -> None:
    """Guards every option of its own: one line, code 2, before anything is measured."""
    refused(feredge("bench", toys.folder / "dense.float32.onnx", *options), *words)


def test_three_classes_are_not_asked_about_seven(tmp_path: Path) -> None:
    """Guards against figures of a network that was asked the wrong question."""
    import onnx

    path = tmp_path / "three.onnx"
    write_onnx(path, np.zeros((2304, 3), np.float32), np.zeros(3, np.float32), "float32")
    model = onnx.load(path)
    del model.metadata_props[:]
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.save(model, path)
    refused(feredge("bench", path, "--data", "drawn:70", "--quick"), "answers with 3 classes, expected 7", "--classes")


def test_results_of_another_schema_or_data_are_refused(tmp_path: Path) -> None:
    """Guards reports: one line and code 2, and nothing is written."""
    (tmp_path / "old.json").write_text(json.dumps({"schema": 0}))
    refused(feredge("report", tmp_path / "old.json", "--html", tmp_path / "page.html"), "old.json", "schema 1, found 0")
    assert not (tmp_path / "page.html").exists()


def test_runtimes_offered_are_those_that_are_known() -> None:
    """Guards the names in the help, which are not read from the benchmark so that help starts at once."""
    assert tuple(runners.ALSO) == measuring.RUNTIMES
