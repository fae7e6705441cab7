"""Small ONNX files that tests write, and their outputs in onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from feredge.inference.runtimes import onnx_session

IR_VERSION = 8
CLASSES = 7


class GraphWriter:
    """Nodes and constants of a graph; each method returns the name of its output."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._random = np.random.default_rng(seed)

    def constant(self, values: Any) -> str:
        """Add an initializer; floats are float32."""
        array = np.asarray(values)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array.astype(np.int64)
        self.constants.append(numpy_helper.from_array(array, f"c{len(self.constants)}"))
        return str(self.constants[-1].name)

    def weights(self, *shape: int, scale: float = 0.3) -> str:
        """Add random weights."""
        return self.constant(self._random.normal(0, scale, shape))

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; returns its output, or the list of them."""
        names = [f"{operator}_{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, f"/{operator}_{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x: str, inputs: int, outputs: int, size: int = 3, **attributes: Any) -> str:
        """Add a convolution with a bias."""
        kernel = self.weights(outputs, inputs // attributes.get("group", 1), size, size)
        return str(self.node("Conv", x, kernel, self.weights(outputs), **attributes))

    def classifier(self, x: str, channels: int) -> str:
        """Add a global average pooling and a dense layer."""
        flat = self.node("Flatten", self.node("GlobalAveragePool", x))
        return str(self.node("Gemm", flat, self.weights(CLASSES, channels, scale=1.0), self.weights(CLASSES), transB=1))

    def save(
        self, path: Path, output: str, shape: Sequence[Any] = ("batch", 1, 16, 16), opset: int = 17, **options: Any
    ) -> Path:
        """Write the file."""
        dtype = options.pop("dtype", TensorProto.FLOAT)
        image = helper.make_tensor_value_info("image", dtype, shape)
        result = helper.make_tensor_value_info(output, dtype, None)
        graph = helper.make_graph(self.nodes, "network", [image], [result], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)
        onnx.save(model, path, **options)
        return path


def write_cnn(path: Path, *, channels: int = 1, size: int = 16, opset: int = 17, **options: Any) -> Path:
    """Write a plain CNN with logits, as exporters write it: the batch normalization is not folded."""
    graph = GraphWriter()
    x = graph.conv("image", channels, 8, pads=[1, 1, 1, 1], strides=[2, 2])
    statistics = [graph.constant(values) for values in (np.full(8, 1.5), np.zeros(8), np.zeros(8), np.ones(8))]
    x = graph.node("Relu", graph.node("BatchNormalization", x, *statistics))
    x = graph.node("MaxPool", graph.conv(x, 8, 12), kernel_shape=[2, 2], strides=[2, 2])
    features = 12 * ((size // 2 - 2) // 2) ** 2
    flat = graph.node("Flatten", graph.node("Relu", x))
    output = graph.node("Gemm", flat, graph.weights(CLASSES, features), graph.weights(CLASSES), transB=1)
    shape = options.pop("shape", ("batch", channels, size, size))
    return graph.save(path, output, shape, opset, **options)


def run_file(path: Path, images: NDArray[Any]) -> NDArray[np.float32]:
    """Return the outputs of a file in onnxruntime, image by image."""
    session = onnx_session(str(path), threads=1)
    name = session.get_inputs()[0].name
    rows = [session.run(None, {name: image[None]})[0].reshape(-1) for image in images]
    return np.stack(rows).astype(np.float32)
