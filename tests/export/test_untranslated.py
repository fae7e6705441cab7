"""ONNX networks with operators that have no Keras layer: exported as ONNX, verified against the file itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from onnx_graphs import GraphWriter, run_file
from tiny_training import stripes

import feredge
from feredge.cli import main
from feredge.errors import RecipeError, UnsupportedNetworkError
from feredge.inference.artifact import Manifest
from feredge.inference.contract import CLASSES

pytest.importorskip("tensorflow")


class _ThisProcess:
    """In place of the child process, which takes seconds to start."""

    def __init__(self, *arguments: object, **options: object) -> None: ...

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None: ...

    def call(self, function: Any, subject: object, **arguments: Any) -> Any:
        return function(**{key: str(item) if isinstance(item, Path) else item for key, item in arguments.items()})


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in this process, on few images."""
    monkeypatch.setattr("feredge.export.onnx.untranslated.ChildProcess", _ThisProcess)
    monkeypatch.setattr("feredge.importing.onnx.network.ChildProcess", _ThisProcess)
    data = stripes(300, size=16)
    monkeypatch.setattr("feredge.api.importing.load_dataset", lambda *arguments, **options: data)


def write_network(path: Path, *, channels: int = 1, last: str = "", batch: int | str = "batch") -> Path:
    """Write a CNN with a local response normalization, which no Keras layer computes."""
    graph = GraphWriter()
    x = graph.node("Relu", graph.conv("image", channels, 8, pads=[1, 1, 1, 1]))
    x = graph.node("LRN", x, size=3, alpha=0.1)
    x = graph.node("MaxPool", x, kernel_shape=[4, 4], strides=[4, 4])
    flat = graph.node("Reshape", x, graph.constant([batch if isinstance(batch, int) else 0, 128]))
    x = graph.node("Gemm", flat, graph.weights(7, 128, scale=0.5), graph.weights(7), transB=1)
    return graph.save(path, graph.node(last, x) if last else x, (batch, channels, 16, 16))


def export(path: Path, tmp_path: Path, **options: Any) -> feredge.ExportResult:
    """Export with the settings that all tests have."""
    settings = {"input_size": 16, "input_range": (-1.0, 1.0), "classes": CLASSES, "out": tmp_path / "run", **options}
    return feredge.export(path, data="stripes", **settings)


@pytest.mark.parametrize("batch", ["batch", 1])
def test_onnx_files_are_written_and_verified(tmp_path: Path, batch: int | str) -> None:
    """Guards the whole kind: one operator outside of the list ends no export, of a fixed batch neither."""
    path = write_network(tmp_path / "net.onnx", batch=batch)
    result = export(path, tmp_path)
    assert [file.name for file in result.files] == [
        "dense.float32.onnx", "dense.dynamic-int8.onnx", "dense.int8.onnx",
    ]  # fmt: skip
    (note,) = result.notes
    assert "found LRN (node '/LRN_2')" in note and "exported as ONNX only" in note and not result.failures
    images = stripes(300, size=16).images[:20]
    logits = run_file(path, images.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    outputs = feredge.Predictor(result.files[0]).predict(images)
    np.testing.assert_allclose(outputs, expected, atol=1e-3)  # as in verification
    (int8,) = [entry for entry in result.manifest.entries if entry.file == "dense.int8.onnx"]
    assert int8.verification["agreement"] > 0.9 and int8.card.contract.shape == (16, 16, 1)
    assert Manifest.read(result.run.artifacts) == result.manifest


def test_gray_pictures_are_repeated_in_three_channels(tmp_path: Path) -> None:
    """Guards the scaling before a network of colour, with values of each channel."""
    path = write_network(tmp_path / "net.onnx", channels=3, last="Softmax")
    mean, deviation = np.array([0.5, 0.4, 0.3], np.float32), np.array([0.2, 0.25, 0.3], np.float32)
    result = export(
        path, tmp_path, input_range=(tuple(mean.tolist()), tuple(deviation.tolist())), files=["float32.onnx"]
    )
    images = stripes(300, size=16).images[:20]
    pixels = ((np.repeat(images, 3, axis=3) / np.float32(255) - mean) / deviation).transpose(0, 3, 1, 2)
    outputs = feredge.Predictor(result.files[0]).predict(images)
    np.testing.assert_allclose(outputs, run_file(path, pixels.astype(np.float32)), atol=1e-3)


def test_files_of_other_formats_are_failures(tmp_path: Path) -> None:
    """Guards the exit code of what was asked for and cannot be written."""
    path = write_network(tmp_path / "net.onnx")
    arguments = ["export", str(path), "--data", "stripes", "--input-size", "16x16", "--input-range=-1..1"]
    arguments += ["--classes", ",".join(CLASSES), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, [*arguments, "--files", "int8.tflite,float32.onnx"])
    assert result.exit_code == 1 and "dense.int8.tflite: the network has operators without" in result.output
    assert "exported: 1 verified files" in result.output


def test_what_onnx_alone_cannot_do_is_refused(tmp_path: Path) -> None:
    """Guards settings that need a Keras network, outputs without a distribution, and half-written folders."""
    path = write_network(tmp_path / "net.onnx")
    with pytest.raises(RecipeError, match=r"exported as float32\.onnx"):
        export(path, tmp_path, files=["int8.tflite"])
    with pytest.raises(RecipeError, match="without --keep-float"):
        export(path, tmp_path, max_drop=1.0)
    with pytest.raises(RecipeError, match="expected 7 different names"):
        export(path, tmp_path, classes=CLASSES[:5])
    with pytest.raises(UnsupportedNetworkError, match="found LRN"):
        export(path, tmp_path, variants=["pruned-50"])
    with pytest.raises(feredge.FeredgeError, match=r"found 7 output\(s\) after Sigmoid"):
        export(write_network(tmp_path / "s.onnx", last="Sigmoid"), tmp_path)
    assert not list((tmp_path / "run").glob("artifacts*"))
