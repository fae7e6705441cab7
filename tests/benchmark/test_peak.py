"""Multiply-adds counted from graphs, and the machine's peak, which they are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_models import save_onnx
from toy_workshop import Workshop

from feredge.benchmark import peak
from feredge.inference.runtimes import onnx_session
from feredge.inspection import macs
from feredge.inspection.macs import Macs

WEIGHTS = {"float32": 1.5, "int8": 3}
"""Value of each element of the constant matrix."""


def matrix_product(precision: str, size: int) -> Any:
    """Return the model of a square matrix times a constant one."""
    from onnx import TensorProto, helper

    integer = precision == "int8"
    data, weight, product = (
        (TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32) if integer else (TensorProto.FLOAT,) * 3
    )
    nodes = [
        helper.make_node(
            "ConstantOfShape",
            ["shape"],
            ["weights"],
            value=helper.make_tensor("value", weight, [1], [WEIGHTS[precision]]),
        ),
        helper.make_node("MatMulInteger" if integer else "MatMul", ["data", "weights"], ["product"]),
    ]
    graph = helper.make_graph(
        nodes,
        "matrix_product",
        [helper.make_tensor_value_info("data", data, [size, size])],
        [helper.make_tensor_value_info("product", product, [size, size])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [size, size])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="feredge")


@pytest.mark.parametrize("precision", WEIGHTS)
@pytest.mark.parametrize("size", peak.MATRIX_SIZES)
def test_the_stored_models_are_matrix_products(precision: str, size: int) -> None:
    """Guards the peak: each stored file is the model above, and onnxruntime's product is correct."""
    path = peak.MODELS_FOLDER / f"{precision}-{size}.onnx"
    assert path.read_bytes() == matrix_product(precision, size).SerializeToString(deterministic=True)
    data = np.arange(size * size).reshape(size, size) % 251
    data = data.astype(np.uint8 if precision == "int8" else np.float32)
    (out,) = onnx_session(str(path), threads=1).run(None, {"data": data})
    assert np.array_equal(
        out, np.repeat(data.sum(1, keepdims=True, dtype=np.float64) * WEIGHTS[precision], size, axis=1)
    )


def test_the_peak_is_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards its unit: over ten million multiply-adds a second on anything that runs Python, under 100,000 billion."""
    monkeypatch.setattr(peak, "MATRIX_SIZES", peak.MATRIX_SIZES[:1])
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
