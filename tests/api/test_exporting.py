"""`feredge.export` of networks from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_training import stripes

import feredge
from feredge.api import exporting, importing
from feredge.cli import main
from feredge.errors import RecipeError
from feredge.inference.contract import CLASSES
from feredge.predictions import Predictions
from feredge.recipes.schema import Export
from feredge.run import RunFolder


def test_a_keras_model_object(tmp_path: Path, here: None) -> None:
    """Guards a notebook's own network: it is audited and imported like its file, which does not remain."""
    pytest.importorskip("tensorflow")
    import keras  # noqa: TID251 - Keras 3, as users have it

    layers = keras.layers
    network = keras.Sequential(
        [keras.Input((16, 16, 1)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(7)], name="mine"
    )
    options: dict[str, Any] = {"input_size": 16, "input_range": (0.0, 1.0), "classes": CLASSES, "out": tmp_path / "run"}
    result = feredge.export(network, data=stripes(), files=["float32.onnx"], **options)
    (entry,) = result.manifest.entries
    assert entry.file == "dense.float32.onnx" and entry.card.recipe["foreign"]["file"] == "mine.keras"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert result.run == RunFolder(tmp_path / "run") and len(result.to_dataframe()) == 1


@pytest.mark.parametrize("network", [7, None, b"net.h5", object()])
def test_another_object(network: Any) -> None:
    """Guards one line for what is neither a path nor a model."""
    with pytest.raises(RecipeError, match=r"expected a path, a name or a Keras model, found (int|None|bytes|object)"):
        feredge.export(network)


@pytest.mark.parametrize(
    ("size", "values", "message"),
    [
        ("64", "0..1", "expected HEIGHTxWIDTH, as 64x64"),
        ("64x48", "0..1", "expected a square of 8 to 512 pixels, found 64x48"),
        ("4x4", "0..1", "expected a square of 8 to 512 pixels, found 4x4"),
        ("64x64", "1..0", "expected LOW..HIGH with LOW under HIGH, found 1..0"),
        ("64x64", "0..0", "expected the values of black and white, as -1..1"),
        ("64x64", "a..b", "expected the values of black and white, as -1..1"),
        ("x", "0..1", "expected HEIGHTxWIDTH, as 64x64"),
        ("", "0..1", "expected HEIGHTxWIDTH, as 64x64"),
    ],
)
def test_an_input_is_a_size_and_a_range(tmp_path: Path, size: str, values: str, message: str) -> None:
    """Guards a scale that is guessed: what does not parse is refused."""
    (tmp_path / "x.h5").touch()
    options = ["--input-size", size, f"--input-range={values}", "--classes", "a,b", "--data", "drawn:70"]
    done = CliRunner().invoke(main, ["export", str(tmp_path / "x.h5"), *options, "--out", str(tmp_path / "run")])
    assert done.exit_code == 2 and message in done.stderr and not (tmp_path / "run").exists()


def test_a_negative_range_and_a_size_reach_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the syntax that export and bench share."""
    specs: list[importing.InputSpec] = []

    def stop(path: Path, data: object, spec: importing.InputSpec, *_: object) -> None:
        specs.append(spec)
        raise RecipeError("imported")

    monkeypatch.setattr(importing, "_import_network", stop)
    (tmp_path / "x.h5").touch()
    options = ["--input-size", "64x64", "--input-range=-1..1", "--classes", "happy, sad", "--data", "drawn:70"]
    done = CliRunner().invoke(main, ["export", str(tmp_path / "x.h5"), *options])
    assert done.stderr == "error: imported\n"
    assert specs == [importing.InputSpec((64, 64), (-1.0, 1.0), ("happy", "sad"))]


@pytest.mark.parametrize(
    ("compiler", "max_drop", "written"), [("cc", None, True), ("", None, False), ("cc", 1.0, False)]
)
def test_all_files_are_those_that_can_be_written(
    monkeypatch: pytest.MonkeyPatch, compiler: str, max_drop: float | None, written: bool
) -> None:
    """Guards `--files all` against a C library that this machine cannot compile, or that may have layers in float."""
    monkeypatch.setattr(exporting, "has_compiler", lambda: compiler)
    settings = exporting._settings(Export(), ["all"], max_drop=max_drop)
    assert settings is not None
    assert ("int8.c" in settings.files) == written and "int8.onnx" in settings.files


def test_another_order_of_the_classes_is_suggested() -> None:
    """Guards networks whose makers sorted the classes: the import says so, but not of unlabelled data."""
    labels = np.arange(70, dtype=np.int8) % 7
    alphabetical = [sorted(CLASSES).index(CLASSES[label]) for label in labels]
    sure = np.eye(7, dtype=np.float32)[alphabetical]
    hint = exporting._class_order_hint(Predictions(sure, labels, np.arange(70), CLASSES))
    assert "alphabetical order of the classes would give 100.0%" in hint
    assert exporting._class_order_hint(Predictions(sure, np.full_like(labels, -1), np.arange(70), CLASSES)) == ""
