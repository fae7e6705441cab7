"""PyTorch networks: ten architectures keep their outputs, and are exported. Needs the extra `torch`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch_networks import ARCHITECTURES, steep_network, trained_network  # noqa: E402 - needs torch

import feredge  # noqa: E402
from feredge import data  # noqa: E402
from feredge.errors import RecipeError  # noqa: E402
from feredge.export import export  # noqa: E402
from feredge.importing.network import NetworkInput, import_network  # noqa: E402
from feredge.importing.onnx.network import open_onnx  # noqa: E402
from feredge.inference.contract import CLASSES  # noqa: E402

SIZE = 64
INPUT = NetworkInput(SIZE, SIZE, -1.0, 1.0)
FILES = ("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx")
FLOAT_ARCHITECTURES = ("mobilenet_v3", "efficientnet")
"""Architectures whose int8 files the export refuses after so short a training: two calibrations give other files."""


@pytest.fixture(scope="module")
def drawn() -> Any:
    """Drawn faces, gray."""
    return data.load("drawn:1400", size=SIZE)


@pytest.fixture(scope="module")
def pixels(drawn: Any) -> Any:
    """The first of them as the networks take them."""
    return tensor(drawn.images[:64])


def tensor(images: Any) -> Any:
    """Return `uint8 (N, H, W, 1)` as the networks take it."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - 1)


@pytest.mark.usefixtures("childless")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_torch_network_keeps_its_outputs(tmp_path: Path, name: str, pixels: Any, drawn: Any) -> None:
    """Guards the whole way from torch.onnx.export to Keras layers, with weights under which images differ."""
    network = steep_network(name, pixels, len(CLASSES))
    path = feredge.from_torch(network, pixels[:1], tmp_path / "network.onnx")
    _, core = open_onnx(path, drawn.images[:64], INPUT)
    with torch.no_grad():
        expected = torch.softmax(network(pixels), dim=1).numpy()
    assert len(np.unique(expected.argmax(axis=1))) > 2
    logits = core(pixels.numpy().transpose(0, 2, 3, 1)).numpy()
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(exponentials / exponentials.sum(axis=1, keepdims=True), expected, atol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_torch_network_is_exported(tmp_path: Path, name: str, drawn: Any, here: None, childless: None) -> None:
    """Guards the chain after the import: verified files of every architecture in float32, of most in int8.

    The network is trained, because the classes of random weights lie closer together than int8 can tell apart.
    """
    training = drawn.usage == "Training"
    labels = torch.from_numpy(drawn.labels[training].astype(np.int64))
    network = trained_network(name, tensor(drawn.images[training]), labels, len(CLASSES))
    path = feredge.from_torch(network, tensor(drawn.images[:1]), tmp_path / "network.onnx")
    run = import_network(path, INPUT, CLASSES, drawn, tmp_path / "run")
    files = tuple(file for file in FILES if name not in FLOAT_ARCHITECTURES or file.startswith("float32"))
    settings = dataclasses.replace(run.recipe().export, files=files, calibration_images=256)
    manifest = export(run, drawn, settings=settings)
    assert not manifest.failures and len(manifest.entries) == len(files)


def test_other_objects_are_refused(tmp_path: Path) -> None:
    """Guards a stack trace, and an empty file."""
    with pytest.raises(RecipeError, match=r"expected a torch.nn.Module, found dict"):
        feredge.from_torch({}, torch.zeros(1), tmp_path / "network.onnx")
    assert not any(tmp_path.iterdir())
