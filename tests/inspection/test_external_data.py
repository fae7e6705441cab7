"""ONNX models with weights in other files: counted whole, and only from their own folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import onnx
import pytest
from device_models import write_onnx

from feredge.errors import ArtifactError
from feredge.inspection.external_data import digest_and_size, external_files


def write_external(path: Path, location: str = "") -> Path:
    """Write a model with its weights in `weights.bin`, and say that they are at `location`."""
    model = onnx.load(write_onnx(path))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    if location:
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer:
            next(entry for entry in tensor.external_data if entry.key == "location").value = location
        path.write_bytes(model.SerializeToString())
    return path


def test_size_and_digest_are_those_of_all_files(tmp_path: Path) -> None:
    """Guards the figure that a device's memory is bought by: the graph alone is a hundredth of it."""
    path = write_external(tmp_path / "m.onnx")
    weights = tmp_path / "weights.bin"
    assert external_files(path) == (weights,)
    digest, size = digest_and_size(path)
    assert size == path.stat().st_size + weights.stat().st_size
    lines = [f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.name}\n" for one in (path, weights)]
    assert digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert digest_and_size(path)[0] != digest


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
@pytest.mark.parametrize("location", ["../weights.bin", "/dev/zero", "sub/../weights.bin", "link.bin", "pipe", "none"])
def test_weights_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    """Guards files of the user's, and against waiting for a pipe: no location leads out, or to what is no file."""
    path = write_external(tmp_path / "m.onnx", location)
    (tmp_path / "link.bin").symlink_to(tmp_path / "weights.bin")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtifactError, match=r"m\.onnx: expected"):
        external_files(path)


def test_a_file_that_ends_before_its_weights_do_is_refused(tmp_path: Path) -> None:
    """Guards against a row about half a network."""
    path = write_external(tmp_path / "m.onnx")
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(ArtifactError, match="expected a file of at least"):
        external_files(path)
