"""The same file for TensorFlow Lite Micro: as a C array, and the operators that its interpreter must know."""

from __future__ import annotations

from feredge.bundles.mcu.c_tables import c_values
from feredge.export.c.model import read_model

RESOLVER_METHODS = {
    "ADD": "AddAdd",
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "CONCATENATION": "AddConcatenation",
    "CONV_2D": "AddConv2D",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "DEQUANTIZE": "AddDequantize",
    "ELU": "AddElu",
    "FULLY_CONNECTED": "AddFullyConnected",
    "LOGISTIC": "AddLogistic",
    "MAX_POOL_2D": "AddMaxPool2D",
    "MEAN": "AddMean",
    "MUL": "AddMul",
    "PAD": "AddPad",
    "QUANTIZE": "AddQuantize",
    "RELU": "AddRelu",
    "RELU6": "AddRelu6",
    "RESHAPE": "AddReshape",
    "SOFTMAX": "AddSoftmax",
}
"""Methods of `MicroMutableOpResolver` by operator; TensorFlow Lite Micro has no RELU_N1_TO_1."""


def tflite_micro_values(flatbuffer: bytes) -> dict[str, str]:
    """Return what stands for the placeholders of `tflite_micro.h`."""
    operators = sorted({operator.name for operator in read_model(flatbuffer).operators})
    calls = [
        f"    resolver.{RESOLVER_METHODS[name]}();" if name in RESOLVER_METHODS else f'#error "no kernel for {name}"'
        for name in operators
    ]
    return {
        "MODEL_BYTES": str(len(flatbuffer)),
        "MODEL_VALUES": c_values(flatbuffer),
        "OPERATOR_COUNT": str(len(operators)),
        "OPERATOR_CALLS": "\n".join(calls),
    }
