"""The table of operators: which function of this package translates each to Keras layers."""

from __future__ import annotations

from collections.abc import Callable

from feredge.importing.onnx import convolutions, elementwise, pooling, shapes
from feredge.importing.onnx.graph import Node
from feredge.importing.onnx.network_builder import NetworkBuilder, Value

Translator = Callable[[Node, NetworkBuilder], Value | list[Value]]

ONNX_TRANSLATORS: dict[str, Translator] = {
    "Add": elementwise.arithmetic,
    "AveragePool": pooling.average_pool,
    "BatchNormalization": elementwise.batch_normalization,
    "Cast": shapes.identity,
    "Clip": elementwise.clip,
    "Concat": shapes.concat,
    "Conv": convolutions.conv,
    "ConvTranspose": convolutions.conv_transpose,
    "Div": elementwise.arithmetic,
    "Dropout": shapes.identity,
    "Elu": elementwise.activation,
    "Flatten": shapes.flatten,
    "Gelu": elementwise.activation,
    "Gemm": convolutions.gemm,
    "GlobalAveragePool": pooling.global_pool,
    "GlobalMaxPool": pooling.global_pool,
    "HardSigmoid": elementwise.hard_sigmoid,
    "HardSwish": elementwise.hard_swish,
    "Identity": shapes.identity,
    "LayerNormalization": elementwise.layer_normalization,
    "LeakyRelu": elementwise.activation,
    "LogSoftmax": elementwise.log_softmax,
    "MatMul": convolutions.matmul,
    "MaxPool": pooling.max_pool,
    "Mish": elementwise.activation,
    "Mul": elementwise.arithmetic,
    "PRelu": elementwise.prelu,
    "Pad": shapes.pad,
    "ReduceMax": pooling.reduce,
    "ReduceMean": pooling.reduce,
    "Relu": elementwise.activation,
    "Reshape": shapes.reshape,
    "Resize": pooling.resize,
    "Selu": elementwise.activation,
    "Sigmoid": elementwise.activation,
    "Slice": shapes.slice_,
    "Softmax": elementwise.softmax,
    "Softplus": elementwise.activation,
    "Softsign": elementwise.activation,
    "Split": shapes.split,
    "Squeeze": shapes.squeeze,
    "Sub": elementwise.arithmetic,
    "Swish": elementwise.activation,
    "Tanh": elementwise.activation,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.unsqueeze,
    "Upsample": pooling.resize,
}
