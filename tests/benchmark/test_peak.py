"""Multiply-adds counted from graphs, and the machine's peak, which they are compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from device_models import save_onnx
from toy_workshop import Workshop

from feredge.benchmark import peak
from feredge.inference.runtimes import onnx_session
from feredge.inspection import macs
from feredge.inspection.macs import Macs


@pytest.mark.parametrize("integer", [False, True])
def test_the_encoded_product_is_a_model(integer: bool) -> None:
    """Guards the protocol buffer encoder: onnxruntime loads the model, and its product is correct."""
    session = onnx_session(peak._product(8, integer=integer), threads=1)
    data = np.arange(64, dtype=np.uint8 if integer else np.float32).reshape(8, 8)
    (out,) = session.run(None, {"data": data})
    weight = 3 if integer else 1.5
    assert np.array_equal(out, np.repeat(data.astype(np.float64).sum(1, keepdims=True) * weight, 8, axis=1))


def test_the_peak_is_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards its unit: over ten million multiply-adds a second on anything that runs Python, under 100,000 billion."""
    monkeypatch.setattr(peak, "MATRIX_SIZES", (128,))
    peaks = peak.measure_peaks(seconds=0.01)
    assert set(peaks) == {"float32", "int8"} and all(1e7 < rate < 1e14 for rate in peaks.values())


def test_macs_of_onnx(workshop: Workshop, tmp_path: Path) -> None:
    """Guards the count: a dense layer by hand, strided convolutions in groups and back, integers told from floats."""
    from onnx import TensorProto, helper

    assert macs.count(workshop.folder / "dense.float32.onnx") == Macs(floating=2304 * 7, integer=0)
    assert macs.count(workshop.folder / "float.npz") is None
    tensors = {
        "w": np.ones((6, 2, 3, 3), np.float32),
        "t": np.ones((6, 3, 2, 2), np.float32),
        "q": np.ones((3, 5), np.int8),
        "scale": np.float32(0.1),
        "zero": np.uint8(0),
        "zero8": np.int8(0),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1], group=2),
        helper.make_node("ConvTranspose", ["y", "t"], ["z"], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["z"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("QuantizeLinear", ["f", "scale", "zero"], ["fq"]),
        helper.make_node("DequantizeLinear", ["fq", "scale", "zero"], ["fd"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero8"], ["qd"]),
        helper.make_node("MatMul", ["fd", "qd"], ["out"]),
    ]
    graph_input = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 8, 8])
    graph_output = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 5])
    path = save_onnx(tmp_path / "mixed.onnx", nodes, graph_input, graph_output, tensors)
    assert macs.count(path) == Macs(floating=4 * 4 * 6 * 2 * 9 + 4 * 4 * 6 * 3 * 4, integer=3 * 5)


def test_macs_of_tflite(tmp_path: Path) -> None:
    """Guards the count in LiteRT's schema."""
    pytest.importorskip("ai_edge_litert")
    from device_models import write_tflite

    assert macs.count(write_tflite(tmp_path / "small.tflite")) == Macs(floating=2304 * 7, integer=0)
