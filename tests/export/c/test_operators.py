"""Each operator's C kernel against LiteRT: with XNNPACK, and with the reference kernels of TensorFlow Lite Micro."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from c_library import litert_outputs, run_library
from one_operator import PIXEL_SCALE, GraphBuilder, convolution

IMAGES = np.random.default_rng(7).integers(0, 256, (20, 9, 7, 3), dtype=np.uint8)


def plain_convolution(graph: GraphBuilder) -> int:
    """Three colour channels, an odd number of outputs, an image of odd sides."""
    return convolution(graph, graph.image((9, 7, 3)), 13)


def strided_convolution(graph: GraphBuilder) -> int:
    """A stride with SAME padding, then a 1x1 kernel, with fused ReLUs."""
    first = convolution(graph, graph.image((9, 7, 3)), 8, strideH=2, strideW=2, fusedActivationFunction=1)
    return convolution(graph, first, 5, kernel=1, strideH=2, strideW=2, fusedActivationFunction=3)


def valid_convolution(graph: GraphBuilder) -> int:
    """No padding."""
    return convolution(graph, graph.image((9, 7, 3)), 16, padding=1)


def depthwise(graph: GraphBuilder) -> int:
    """Two outputs of each channel, with a stride."""
    weights, scales = graph.weights((1, 3, 3, 6), axis=3)
    options = {"depthMultiplier": 2, "strideH": 2, "strideW": 2, "dilationHFactor": 1, "dilationWFactor": 1}
    inputs = [graph.image((9, 7, 3)), weights, graph.bias(6, scales * np.float32(PIXEL_SCALE))]
    return graph.operator("DEPTHWISE_CONV_2D", inputs, graph.int8((1, 5, 4, 6)), "DepthwiseConv2DOptions", **options)


def fully_connected(graph: GraphBuilder) -> int:
    """One scale of all weights, as the converter writes."""
    weights, scales = graph.weights((7, 9 * 7 * 3), axis=None)
    inputs = [graph.image((9, 7, 3)), weights, graph.bias(7, scales * np.float32(PIXEL_SCALE))]
    return graph.operator("FULLY_CONNECTED", inputs, graph.int8((1, 7), 0.2), "FullyConnectedOptions")


def addition(graph: GraphBuilder) -> int:
    """Two activations of different scales, one of which is still read later."""
    image = graph.image((9, 7, 3))
    first, second = convolution(graph, image, 4), convolution(graph, image, 4, kernel=1)
    total = graph.operator("ADD", [first, second], graph.int8((1, 9, 7, 4), 0.08, -11), "AddOptions")
    return graph.operator("ADD", [total, first], graph.int8((1, 9, 7, 4), 0.11, 20), "AddOptions")


def channel_factors(graph: GraphBuilder) -> int:
    """A product with a constant of each channel, then a sum, as of a batch normalization."""
    first = convolution(graph, graph.image((9, 7, 3)), 4)
    factors = graph.tensor((4,), "INT8", 0.01, -5, np.array([-100, 3, 90, 127], np.int8))
    product = graph.operator("MUL", [first, factors], graph.int8((1, 9, 7, 4), 0.06, 9), "MulOptions")
    terms = graph.tensor((4,), "INT8", 0.02, 7, np.array([4, -128, 30, 127], np.int8))
    return graph.operator(
        "ADD", [product, terms], graph.int8((1, 9, 7, 4), 0.07), "AddOptions", fusedActivationFunction=1
    )


def channel_gates(graph: GraphBuilder) -> int:
    """A product with one computed value for each channel, as of a squeeze and excitation, on either side."""
    first = convolution(graph, graph.image((9, 7, 3)), 4)
    means = graph.operator(
        "MEAN", [first, graph.constant([1, 2])], graph.int8((1, 1, 1, 4), 0.03, -20), "ReducerOptions", keepDims=True
    )
    gates = graph.operator("LOGISTIC", [means], graph.int8((1, 1, 1, 4), 1 / 256, -128))
    product = graph.operator("MUL", [first, gates], graph.int8((1, 9, 7, 4), 0.05, 9), "MulOptions")
    total = graph.operator("ADD", [means, product], graph.int8((1, 9, 7, 4), 0.07, 3), "AddOptions")
    return graph.operator("MUL", [gates, total], graph.int8((1, 9, 7, 4), 0.06), "MulOptions")


def mean(graph: GraphBuilder) -> int:
    """The mean over all pixels."""
    first = convolution(graph, graph.image((9, 7, 3)), 10)
    axes = graph.constant([1, 2])
    return graph.operator("MEAN", [first, axes], graph.int8((1, 10), 0.03, -20), "ReducerOptions", keepDims=False)


def pools(graph: GraphBuilder) -> int:
    """Maxima, then averages, with padding."""
    first = convolution(graph, graph.image((9, 7, 3)), 6)
    options = {"padding": 0, "strideH": 2, "strideW": 2, "filterHeight": 3, "filterWidth": 3}
    largest = graph.operator("MAX_POOL_2D", [first], graph.int8((1, 5, 4, 6)), "Pool2DOptions", **options)
    return graph.operator("AVERAGE_POOL_2D", [largest], graph.int8((1, 3, 2, 6)), "Pool2DOptions", **options)


def padded_concatenation(graph: GraphBuilder) -> int:
    """Padding, a convolution without, and both inputs' channels together."""
    image = graph.image((9, 7, 3))
    paddings = graph.constant([[0, 0], [1, 2], [0, 1], [0, 0]])
    padded = graph.operator("PAD", [image, paddings], graph.tensor((1, 12, 8, 3), "INT8", 1 / 255, -128), "PadOptions")
    parts = [convolution(graph, padded, 4, padding=1), convolution(graph, padded, 3, padding=1)]
    return graph.operator("CONCATENATION", parts, graph.int8((1, 10, 6, 7)), "ConcatenationOptions", axis=3)


def logistic(graph: GraphBuilder) -> int:
    first = convolution(graph, graph.image((9, 7, 3)), 4)
    return graph.operator("LOGISTIC", [first], graph.int8((1, 9, 7, 4), 1 / 256, -128))


def elu(graph: GraphBuilder) -> int:
    first = convolution(graph, graph.image((9, 7, 3)), 4)
    return graph.operator("ELU", [first], graph.int8((1, 9, 7, 4), 0.03, -90))


def relu(graph: GraphBuilder) -> int:
    first = convolution(graph, graph.image((9, 7, 3)), 4)
    return graph.operator("RELU", [first], graph.int8((1, 9, 7, 4), 0.05, -128))


def requantization(graph: GraphBuilder) -> int:
    first = convolution(graph, graph.image((9, 7, 3)), 4)
    return graph.operator("QUANTIZE", [first], graph.int8((1, 9, 7, 4), 0.037, -40), "QuantizeOptions")


def softmax(graph: GraphBuilder) -> int:
    """Probabilities of 7 classes."""
    last = graph.int8((1, 7), 1 / 256, -128)
    return graph.operator("SOFTMAX", [fully_connected(graph)], last, "SoftmaxOptions", beta=1.0)


BUILDERS = [
    *(plain_convolution, strided_convolution, valid_convolution, depthwise, fully_connected, addition),
    *(channel_factors, channel_gates, mean, pools, padded_concatenation, logistic, elu, relu, requantization, softmax),
]


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("arithmetic", ["xnnpack", "tflm"])
def test_operators_give_the_bits_of_litert(
    builder: Callable[[GraphBuilder], int], arithmetic: str, tmp_path: Path
) -> None:
    """Guards every kernel: one rounding that differs changes labels, which accuracy hides."""
    if (builder, arithmetic) == (elu, "tflm"):
        pytest.skip("the reference kernels of LiteRT have no ELU in int8")
    graph = GraphBuilder()
    model = graph.finish(builder(graph))
    expected = litert_outputs(model, IMAGES, reference=arithmetic == "tflm")
    assert len(np.unique(expected)) > 3
    np.testing.assert_array_equal(run_library(model, IMAGES, tmp_path, arithmetic=arithmetic), expected)


def test_float_outputs(tmp_path: Path) -> None:
    """Guards files whose last operator is DEQUANTIZE."""
    graph = GraphBuilder()
    model = graph.finish(softmax(graph), kind="FLOAT32")
    np.testing.assert_array_equal(run_library(model, IMAGES, tmp_path), litert_outputs(model, IMAGES))
