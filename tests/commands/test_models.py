"""The reference models by their names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner
from device_models import card, faces, write_onnx

from feredge import Predictor, cli
from feredge.errors import ArtifactError
from feredge.inference import model_zoo
from feredge.inference.artifact import Manifest, manifest_entry
from feredge.inference.runtimes import DEFAULT_MODEL


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of model folders with one model, `tiny`."""
    monkeypatch.setenv("FEREDGE_MODELS", str(tmp_path))
    (tmp_path / "tiny").mkdir()
    path = write_onnx(tmp_path / "tiny" / "dense.float32.onnx", with_card=card())
    Manifest((manifest_entry(path, card(), {}),)).write(path.parent)
    return tmp_path


def test_a_name_opens_a_model(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards `Predictor("tiny")`, and that a file or folder of that name goes first."""
    with Predictor("tiny") as predictor:
        assert predictor.path == places / "tiny" / "dense.float32.onnx"
        assert predictor(faces(1)[0]).label in predictor.classes
    shutil.copytree(places / "tiny", places / "here" / "tiny")
    monkeypatch.chdir(places / "here")
    with Predictor("tiny") as predictor:
        assert predictor.path.resolve() == places / "here" / "tiny" / "dense.float32.onnx"


def test_the_packaged_model_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards `Predictor("nano")` where only the package is installed, without the checkout's models/ beside it."""
    installed = tmp_path / "site-packages" / "feredge"
    (installed / "models").mkdir(parents=True)
    shutil.copy(DEFAULT_MODEL, installed / "models")
    monkeypatch.delenv(model_zoo.MODELS_VARIABLE, raising=False)
    monkeypatch.setattr(model_zoo, "PACKAGE_FOLDER", installed)
    with Predictor("nano") as predictor:
        assert predictor.path == installed / "models" / DEFAULT_MODEL.name


def test_a_name_as_it_is_typed(places: Path, tmp_path: Path) -> None:
    """Guards `--model tiny`, `inspect tiny` and `inspect FOLDER`: options come as paths, and folders have no digest."""
    cv2.imwrite(str(tmp_path / "face.png"), faces(1)[0])
    done = CliRunner().invoke(cli.main, ["predict", "--cropped", "--model", "tiny", str(tmp_path / "face.png")])
    assert done.exit_code == 0, done.output
    for name in ("tiny", str(places / "tiny")):
        done = CliRunner().invoke(cli.main, ["inspect", "--json", name])
        assert done.exit_code == 0 and json.loads(done.stdout)["file"] == "dense.float32.onnx"


@pytest.mark.parametrize("name", ["nanno", "n" * 300])
def test_an_unknown_name(name: str) -> None:
    """Guards the line that says where names come from, also where no file can be called so."""
    with pytest.raises(ArtifactError, match="feredge models"):
        Predictor(name)


def test_the_list(places: Path) -> None:
    """Guards the command: every model here, in text and JSON."""
    done = CliRunner().invoke(cli.main, ["models", "--json"])
    assert done.exit_code == 0
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert {"tiny", "nano"} <= set(rows)
    assert rows["tiny"]["bytes"] == (places / "tiny" / "dense.float32.onnx").stat().st_size
    assert "tiny" in CliRunner().invoke(cli.main, ["models"]).stdout
