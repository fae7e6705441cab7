"""The file that a bundle is made from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from feredge.bundles.source import open_source
from feredge.errors import ArtifactError, FeredgeError
from feredge.inference.embedded_card import read_card

NANO = Path(__file__).parents[2] / "models/nano"


@pytest.mark.parametrize("target", [NANO, NANO / "dense.int8.tflite", "nano"])
def test_the_int8_file_of_a_path_or_name(target: Path | str) -> None:
    """Guards the ways to name a model."""
    source = open_source(target)
    assert (source.name, source.card) == ("dense.int8.tflite", read_card(NANO / "dense.int8.tflite"))
    assert source.data.startswith(source.flatbuffer) and source.flatbuffer[4:8] == b"TFL3"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (NANO / "dense.float32.tflite", "expected a file that is int8 throughout, found float32"),
        (NANO / "dense.int8.onnx", r"expected an int8 \.tflite file, found a \.onnx file"),
        (NANO / "recipe.toml", "expected a run folder, a folder of exported files or a model file"),
        ("nowhere", "expected a run folder, a folder of exported files or a model file .*found none"),
    ],
)
def test_other_files_are_refused(target: Path | str, message: str) -> None:
    """Guards against a bundle of a file that its target cannot run."""
    with pytest.raises(FeredgeError, match=message):
        open_source(target)


def test_a_changed_file_of_an_export_is_refused(tmp_path: Path) -> None:
    """Guards the digest in the manifest."""
    shutil.copytree(NANO, tmp_path / "nano")
    with (tmp_path / "nano/dense.int8.tflite").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactError, match="expected SHA-256"):
        open_source(tmp_path / "nano")
