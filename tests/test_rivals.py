"""The program that measures other packages' networks: their formats, and packages that cannot be fetched."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_tools import TOOLS, load_tool

from feredge.inference.tflite import TFLiteGraph, litert_interpreter


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the program, imported."""
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return load_tool("rivals")


def encoded(text: str) -> str:
    """Return a text as TensorFlow.js stores it."""
    return base64.b64encode(text.encode()).decode()


def test_a_quantized_graph_model_is_converted(tool: ModuleType, tmp_path: Path) -> None:
    """Guards dequantization and the graph: a 1x1 convolution with a bias and a ReLU, the mean, and softmax."""
    kernel = np.array([[[[10, 250]]]], np.uint8)
    weights: list[dict[str, Any]] = [
        {
            "name": "kernel",
            "shape": [1, 1, 1, 2],
            "dtype": "float32",
            "quantization": {"dtype": "uint8", "scale": 0.01, "min": -1.0},
        },
        {"name": "bias", "shape": [2], "dtype": "float32"},
        {"name": "axes", "shape": [2], "dtype": "int32"},
    ]
    integers = {"list": {"i": ["1", "1", "1", "1"]}}
    fused = {"list": {"s": [encoded("BiasAdd"), encoded("Relu")]}}
    nodes = [
        {"name": "image", "op": "Placeholder"},
        {
            "name": "conv",
            "op": "_FusedConv2D",
            "input": ["image", "kernel", "bias"],
            "attr": {"strides": integers, "padding": {"s": encoded("SAME")}, "fused_ops": fused},
        },
        {"name": "mean", "op": "Mean", "input": ["conv", "axes"]},
        {"name": "softmax", "op": "Softmax", "input": ["mean"]},
    ]
    model = {"modelTopology": {"node": nodes}, "weightsManifest": [{"weights": weights}]}
    (tmp_path / "net.json").write_text(json.dumps(model))
    bias, axes = np.array([0.5, 0.0], np.float32), np.array([1, 2], np.int32)
    (tmp_path / "net.bin").write_bytes(kernel.tobytes() + bias.tobytes() + axes.tobytes())
    import rival_networks

    tflite = rival_networks.to_tflite(rival_networks.graph_model(tmp_path, "net"), (1, 4, 4, 1))
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    logits = np.array([np.maximum(image * (10 * 0.01 - 1) + 0.5, 0).mean(), (image * (250 * 0.01 - 1)).mean()])
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(TFLiteGraph(litert_interpreter(tflite)).run(image)[0], expected, rtol=1e-4)


def test_a_package_that_cannot_be_fetched_is_a_line(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the others: no registry, a package that is gone."""

    def fail(command: list[str], **options: object) -> None:
        raise subprocess.CalledProcessError(1, command, stderr="looking\nERROR: no matching distribution\n")

    monkeypatch.setattr(tool.subprocess, "run", fail)
    networks = tool.rival_networks_of(SimpleNamespace(images=np.zeros((2, 48, 48, 1), np.uint8)), tmp_path)
    assert len(networks) == len(tool.RIVALS)
    assert {network for _, network in networks.values()} == {None}
    assert {facts["failure"] for facts, _ in networks.values()} == {"ERROR: no matching distribution"}
    row = {"name": "x", "package": "y", "input": "z", "stated": "nothing", "failure": "gone"}
    facts = {"rows": [row], "cpu": "a CPU", "load_average": 0.1, "data": "ab" * 32, "measured": "2026-01-02"}
    assert "| x | y | z | gone | | | | |" in tool.page(facts)


def test_resizing_as_tensorflow_js(tool: ModuleType) -> None:
    """Guards the positions of the pixels: those of `resizeBilinear` without half-pixel centers."""
    from feredge.keras import tf

    images = np.random.default_rng(1).integers(0, 256, (2, 48, 48), dtype=np.uint8)
    expected = tf.compat.v1.image.resize_bilinear(images[..., None], (112, 112))
    np.testing.assert_allclose(tool.resize_corner(images, 112), np.asarray(expected)[..., 0], atol=1e-3)
