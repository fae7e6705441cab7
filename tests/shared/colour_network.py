"""A network of RGB images with given ONNX operators, for the bundles that translate ONNX files."""

from __future__ import annotations

from typing import Any

import numpy as np

from feredge.bundles.source import Source
from feredge.inference.artifact import Card
from feredge.inference.contract import InputContract


def colour_network(operators: list[tuple[str, dict[str, Any]]]) -> Source:
    """A network of RGB images with given operators between its two convolutions."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=1),
        helper.make_node("Mul", ["pixels", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "first"], ["x0"], dilations=[2, 1], pads=[2, 0, 1, 1]),
    ]
    nodes += [
        helper.make_node(kind, [f"x{number}"], [f"x{number + 1}"], **attributes)
        for number, (kind, attributes) in enumerate(operators)
    ]
    last = f"x{len(operators)}"
    nodes += [
        helper.make_node("Conv", [last, "second", "bias"], ["c"], group=3),
        helper.make_node("Concat", ["c", last], ["d"], axis=1),
        helper.make_node("Clip", ["d", "low", "high"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["f"]),
        helper.make_node("Flatten", ["f"], ["g"]),
        helper.make_node("Gemm", ["g", "matrix", "offset"], ["h"], transB=1),
        helper.make_node("Softmax", ["h"], ["probabilities"], axis=-1),
    ]
    weights = {
        "scale": np.float32(1 / 128),
        "first": rng.normal(size=(6, 3, 3, 3)).astype(np.float32),
        "second": rng.normal(size=(3, 2, 1, 1)).astype(np.float32),
        "bias": rng.normal(size=3).astype(np.float32),
        "low": np.float32(-2),
        "high": np.float32(3),
        "matrix": rng.normal(size=(4, 9)).astype(np.float32),
        "offset": rng.normal(size=4).astype(np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "colour",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 14, 10, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    card = Card("dense", "float32", ("a", 'b"\\(c)', "</d>", "é"), InputContract(14, 10, 3), {"name": "colour"})
    return Source("dense.float32.onnx", model.SerializeToString(), card)
