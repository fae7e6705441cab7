"""Translation of ONNX operators: each gives the outputs that onnxruntime gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_graphs import GraphWriter, run_file, write_cnn

from feredge.errors import ArtifactError
from feredge.importing.onnx.file import simplify
from feredge.importing.onnx.network import read_network

SIZE = 12
Body = Callable[[GraphWriter, str], tuple[str, int]]
"""Adds nodes after feature maps of 8 channels, 12x12; returns the last output and its channels."""


def _translated(path: Path, tmp_path: Path, size: int = SIZE) -> Any:
    simplify(path, tmp_path / "simplified.onnx", height=size, width=size)
    return read_network(tmp_path / "simplified.onnx")


def _maximum_difference(path: Path, tmp_path: Path, size: int = SIZE) -> float:
    images = np.random.default_rng(1).uniform(-1, 1, (3, 1, size, size)).astype(np.float32)
    outputs = _translated(path, tmp_path, size)(images.transpose(0, 2, 3, 1)).numpy()
    expected = run_file(path, images)
    assert expected.std(axis=0).max() > 1e-3  # or the images would not matter
    return float(np.abs(outputs - expected).max())


def _conv(**attributes: Any) -> Body:
    size = attributes.pop("size", 3)
    outputs = attributes.pop("outputs", 8)
    return lambda graph, x: (graph.conv(x, 8, outputs, size, **attributes), outputs)


def _unary(operator: str, *constants: Any, **attributes: Any) -> Body:
    def body(graph: GraphWriter, x: str) -> tuple[str, int]:
        return graph.node(operator, x, *(graph.constant(value) for value in constants), **attributes), 8

    return body


def _transposed(graph: GraphWriter, x: str) -> tuple[str, int]:
    kernel, bias = graph.weights(8, 6, 3, 3), graph.weights(6)
    return graph.node("ConvTranspose", x, kernel, bias, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]), 6


def _gate(graph: GraphWriter, x: str) -> tuple[str, int]:
    pooled = graph.node("ReduceMean", x, axes=[2, 3], keepdims=1)
    gate = graph.node("HardSigmoid", graph.conv(pooled, 8, 8, 1), alpha=1 / 6, beta=0.5)
    return graph.node("Mul", gate, x), 8


def _shuffle(graph: GraphWriter, x: str) -> tuple[str, int]:
    left, right = graph.node("Split", x, graph.constant([3, 5]), outputs=2, axis=1)
    x = graph.node("Concat", graph.node("Relu", right), left, axis=1)
    x = graph.node("Reshape", x, graph.constant([0, 2, 4, SIZE, SIZE]))
    x = graph.node("Transpose", x, perm=[0, 2, 1, 3, 4])
    return graph.node("Reshape", x, graph.constant([-1, 8, SIZE, SIZE])), 8


def _per_channel(graph: GraphWriter, x: str) -> tuple[str, int]:
    x = graph.node("Sub", graph.constant(np.linspace(1, 2, 8).reshape(8, 1, 1)), x)
    x = graph.node("Div", graph.node("Relu", x), graph.constant(np.linspace(1, 3, 8).reshape(1, 8, 1, 1)))
    return graph.node("Add", graph.node("Mul", x, graph.constant(0.5)), graph.constant(-0.25)), 8


def _layer_norm(graph: GraphWriter, x: str) -> tuple[str, int]:
    x = graph.node("Transpose", x, perm=[0, 2, 3, 1])
    x = graph.node("LayerNormalization", x, graph.weights(8, scale=1.0), graph.weights(8), axis=-1, epsilon=1e-6)
    x = graph.node("Add", graph.node("MatMul", x, graph.weights(8, 16)), graph.weights(16))
    return graph.node("Transpose", x, perm=[0, 3, 1, 2]), 16


def _decomposed_layer_norm(graph: GraphWriter, x: str) -> tuple[str, int]:
    centered = graph.node("Sub", x, graph.node("ReduceMean", x, axes=[1]))
    variance = graph.node("ReduceMean", graph.node("Pow", centered, graph.constant(2.0)), axes=[1])
    root = graph.node("Sqrt", graph.node("Add", variance, graph.constant(1e-6)))
    scaled = graph.node("Mul", graph.node("Div", centered, root), graph.weights(8, 1, 1, scale=1.0))
    return graph.node("Add", scaled, graph.weights(8, 1, 1)), 8


def _decomposed_gelu(graph: GraphWriter, x: str) -> tuple[str, int]:
    erf = graph.node("Erf", graph.node("Div", x, graph.constant(2**0.5)))
    product = graph.node("Mul", x, graph.node("Add", erf, graph.constant(1.0)))
    return graph.node("Mul", product, graph.constant(0.5)), 8


def _decomposed_hard_swish(graph: GraphWriter, x: str) -> tuple[str, int]:
    gate = graph.node("Clip", graph.node("Add", x, graph.constant(3.0)), graph.constant(0.0), graph.constant(6.0))
    return graph.node("Div", graph.node("Mul", x, gate), graph.constant(6.0)), 8


def _swish(graph: GraphWriter, x: str) -> tuple[str, int]:
    return graph.node("Mul", x, graph.node("Sigmoid", x)), 8


def _strided(graph: GraphWriter, x: str) -> tuple[str, int]:
    """Flatten and gather all elements, as torch writes the strides of an average over NHWC."""
    flat = graph.node("Reshape", graph.node("GlobalAveragePool", x), graph.constant([-1]))
    return graph.node("Gather", flat, graph.constant(np.arange(8).reshape(1, 8, 1, 1))), 8


def _tokens(graph: GraphWriter, x: str) -> tuple[str, int]:
    """Mix over positions and over channels, as an MLP-Mixer does."""
    x = graph.node("Reshape", x, graph.constant([0, 8, SIZE * SIZE]))
    mixed = graph.node("MatMul", x, graph.weights(SIZE * SIZE, SIZE * SIZE, scale=0.05))
    x = graph.node("Transpose", graph.node("Add", x, mixed), perm=[0, 2, 1])
    x = graph.node("Relu", graph.node("MatMul", x, graph.weights(8, 8)))
    x = graph.node("Transpose", x, perm=[0, 2, 1])
    return graph.node("Reshape", x, graph.constant([0, 8, SIZE, SIZE])), 8


def _crops(graph: GraphWriter, x: str) -> tuple[str, int]:
    starts, ends, axes, steps = ([1, 2, 3], [-1, 1000, 7], [2, 3, 1], [1, 2, 1])
    x = graph.node("Slice", x, *(graph.constant(values) for values in (starts, ends, axes, steps)))
    return graph.node("Pad", x, graph.constant([0, 0, 1, 0, 0, 0, 2, -1])), 4


def _residual(graph: GraphWriter, x: str) -> tuple[str, int]:
    """Read one convolution twice: an addition of a constant must not change it for the other reader."""
    conv = graph.conv(x, 8, 8, pads=[1, 1, 1, 1])
    shifted = graph.node("Relu", graph.node("Add", graph.node("Identity", conv), graph.weights(8, 1, 1, scale=2.0)))
    return graph.node("Add", conv, shifted), 8


BODIES: dict[str, Body] = {
    "conv same": _conv(pads=[1, 1, 1, 1]),
    "conv strided": _conv(pads=[1, 1, 1, 1], strides=[2, 2]),
    "conv of 7": _conv(size=7, pads=[3, 3, 3, 3], strides=[2, 2]),
    "conv one side": _conv(pads=[2, 0, 0, 1]),
    "conv dilated": _conv(dilations=[2, 2], pads=[2, 2, 2, 2]),
    "conv upper": _conv(auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv lower": _conv(auto_pad="SAME_LOWER", strides=[2, 2]),
    "conv grouped": _conv(group=2, pads=[1, 1, 1, 1]),
    "conv depthwise": _conv(group=8, outputs=16, strides=[2, 2], pads=[1, 1, 1, 1]),
    "conv transposed": _transposed,
    "max pool": _unary("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    "max pool of negative values": _unary("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "max pool ceil": _unary("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "average pool": _unary("AveragePool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]),
    "average pool counted": _unary(
        "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "global max pool": _unary("GlobalMaxPool"),
    "leaky relu": _unary("LeakyRelu", alpha=0.2),
    "prelu": _unary("PRelu", np.linspace(0, 1, 8).reshape(8, 1, 1)),
    "elu": _unary("Elu"),
    "hard sigmoid": _unary("HardSigmoid", alpha=0.2, beta=0.5),
    "hard swish": _unary("HardSwish"),
    "sigmoid": _unary("Sigmoid"),
    "tanh": _unary("Tanh"),
    "softplus": _unary("Softplus"),
    "clip": _unary("Clip", 0.0, 6.0),
    "clip below": _unary("Clip", -0.5, 0.5),
    "softmax": _unary("Softmax", axis=1),
    "resize": _unary("Resize", [], [1.0, 1.0, 2.0, 3.0], mode="nearest"),
    "resize linear": _unary("Resize", [], [1.0, 1.0, 2.0, 2.0], mode="linear"),
    "resize asymmetric": _unary(
        "Resize", [], [1.0, 1.0, 2.0, 2.0], coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    ),
    "gate": _gate,
    "shuffle": _shuffle,
    "arithmetic": _per_channel,
    "layer norm": _layer_norm,
    "decomposed layer norm": _decomposed_layer_norm,
    "decomposed gelu": _decomposed_gelu,
    "decomposed hard swish": _decomposed_hard_swish,
    "swish": _swish,
    "strided": _strided,
    "tokens": _tokens,
    "crops": _crops,
    "residual": _residual,
}


@pytest.mark.parametrize("name", BODIES)
def test_an_operator_is_the_same_function(tmp_path: Path, name: str) -> None:
    """Guards padding, the order of axes, weights transposed wrongly, and operators joined that are not the same."""
    graph = GraphWriter()
    features, channels = BODIES[name](graph, graph.conv("image", 1, 8, pads=[1, 1, 1, 1]))
    path = graph.save(tmp_path / "x.onnx", graph.classifier(features, channels), (1, 1, SIZE, SIZE))
    assert _maximum_difference(path, tmp_path) < 2e-5  # float32 sums in another order


@pytest.mark.parametrize("opset", range(7, 23))
def test_every_opset_is_read(tmp_path: Path, opset: int) -> None:
    """Guards files of old exporters, and of new ones."""
    path = write_cnn(tmp_path / "x.onnx", size=SIZE, opset=opset)
    assert _maximum_difference(path, tmp_path) < 2e-5


def test_channels_last_files_need_no_transpositions(tmp_path: Path) -> None:
    """Guards files of tf2onnx, whose input is NHWC: the network has no layer that moves data."""
    graph = GraphWriter()
    x = graph.node("Transpose", "image", perm=[0, 3, 1, 2])
    x = graph.node("Transpose", graph.conv(x, 1, 8, pads=[1, 1, 1, 1]), perm=[0, 2, 3, 1])
    x = graph.node("Relu", graph.node("Add", x, graph.weights(8)))
    flat = graph.node("Reshape", x, graph.constant([-1, SIZE * SIZE * 8]))
    output = graph.node("MatMul", flat, graph.weights(SIZE * SIZE * 8, 7))
    path = graph.save(tmp_path / "x.onnx", output, ("batch", SIZE, SIZE, 1))
    network = _translated(path, tmp_path)
    assert [type(layer).__name__ for layer in network.layers] == ["InputLayer", "Conv2D", "ReLU", "Flatten", "Dense"]
    images = np.random.default_rng(1).uniform(-1, 1, (3, SIZE, SIZE, 1)).astype(np.float32)
    np.testing.assert_allclose(network(images).numpy(), run_file(path, images), atol=2e-5)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (_unary("Sin"), r"found Sin \(node '/Sin_1'\)$"),
        (
            _unary("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
            r"found MaxPool \(node '/MaxPool_1'\) with dilations",
        ),
        (
            _unary("Mul", np.arange(1.0, 145.0).reshape(12, 12)),
            r"found Mul .* a constant that differs between pixels",
        ),
        (_unary("Reshape", [8, -1]), r"found Reshape .* with the shape \[8, -1\], which does not keep the batch"),
        (_unary("Resize", [], [1.0, 1.0, 1.5, 1.5]), r"found Resize .* whole factors"),
    ],
)
def test_other_operators_are_named(tmp_path: Path, body: Body, message: str) -> None:
    """Guards a network that is quietly another: what is not translated is refused by operator and node."""
    graph = GraphWriter()
    features, channels = body(graph, graph.conv("image", 1, 8, pads=[1, 1, 1, 1]))
    path = graph.save(tmp_path / "x.onnx", graph.classifier(features, channels), (1, 1, SIZE, SIZE))
    with pytest.raises(ArtifactError, match=message):
        _translated(path, tmp_path)
