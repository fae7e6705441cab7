"""Int8 TensorFlow Lite models of one operator between the conversions of pixels and of probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from feredge.inspection import flatbuffer

PIXEL_SCALE = 1 / 255
VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "ELU": 1, "FULLY_CONNECTED": 4, "RESHAPE": 1}
"""Of the operators' int8 kernels; 2 of all others."""


class GraphBuilder:
    """A graph that is built tensor by tensor and operator by operator."""

    def __init__(self, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.subgraphs = 3, [self.graph]
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.graph.tensors, self.graph.operators = [], []

    def tensor(
        self, shape: tuple[int, ...], kind: str, scale: Any = None, zero: int = 0, data: Any = None, axis: int = 0
    ) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.name, tensor.buffer = list(shape), f"t{len(self.graph.tensors)}", 0
        tensor.type = getattr(schema.TensorType, kind)
        if scale is not None:
            scales = np.atleast_1d(np.float32(scale))
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = scales, np.full(len(scales), zero, np.int64)
            tensor.quantization.quantizedDimension = axis
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def int8(self, shape: tuple[int, ...], scale: float = 0.05, zero: int = 3) -> int:
        return self.tensor(shape, "INT8", scale, zero)

    def weights(self, shape: tuple[int, ...], *, axis: int | None = 0) -> tuple[int, Any]:
        """Add a random kernel, with a scale per channel or, without `axis`, one; return it and its scales."""
        values = self.random.integers(-127, 128, shape, dtype=np.int8)
        scale = self.random.uniform(1e-3, 5e-3, 1 if axis is None else shape[axis]).astype(np.float32)
        return self.tensor(shape, "INT8", scale, 0, values, axis or 0), scale

    def bias(self, size: int, scale: Any) -> int:
        """Add a random bias of the kernel's scales times the image's, which no kernel reads, but LiteRT checks."""
        return self.tensor((size,), "INT32", scale, 0, self.random.integers(-3000, 3000, size, dtype=np.int32))

    def constant(self, values: Any) -> int:
        return self.tensor(np.shape(values), "INT32", data=np.array(values, np.int32))

    def operator(self, name: str, inputs: list[int], output: int, table: str = "", **options: Any) -> int:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), VERSIONS.get(name, 2)
        self.model.operatorCodes.append(code)
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.model.operatorCodes) - 1, inputs, [output]
        if table:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
            operator.builtinOptions = getattr(schema, f"{table}T")()
            for key, value in options.items():
                setattr(operator.builtinOptions, key, value)
        self.graph.operators.append(operator)
        return output

    def image(self, shape: tuple[int, ...]) -> int:
        """Add the input, uint8 pixels, and its conversion to int8; return that."""
        pixels = self.tensor((1, *shape), "UINT8", PIXEL_SCALE, 0)
        self.graph.inputs = [pixels]
        return self.operator(
            "QUANTIZE", [pixels], self.tensor((1, *shape), "INT8", PIXEL_SCALE, -128), "QuantizeOptions"
        )

    def finish(self, last: int, *, kind: str = "UINT8") -> bytes:
        """Flatten the last int8 tensor, convert it to uint8 or float32, and return the flatbuffer."""
        tensor = self.graph.tensors[last]
        size, scale, zero = (
            int(np.prod(tensor.shape)),
            tensor.quantization.scale[0],
            int(tensor.quantization.zeroPoint[0]),
        )
        shape = self.constant([1, size])
        flat = self.operator("RESHAPE", [last, shape], self.tensor((1, size), "INT8", scale, zero), "ReshapeOptions")
        if kind == "UINT8":
            output = self.operator(
                "QUANTIZE", [flat], self.tensor((1, size), "UINT8", scale, zero + 128), "QuantizeOptions"
            )
        else:
            output = self.operator("DEQUANTIZE", [flat], self.tensor((1, size), "FLOAT32"), "DequantizeOptions")
        self.graph.outputs = [output]
        return flatbuffer.pack(self.model)


def convolution(graph: GraphBuilder, source: int, channels: int, *, kernel: int = 3, **options: Any) -> int:
    """Add a convolution of `channels` outputs; stride 1 and SAME padding unless `options` say otherwise."""
    shape = list(graph.graph.tensors[source].shape)
    weights, scales = graph.weights((channels, kernel, kernel, shape[3]))
    bias = graph.bias(channels, scales * graph.graph.tensors[source].quantization.scale[0])
    options = {"padding": 0, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1} | options
    size = [-(-length // options["strideH"]) for length in shape[1:3]]
    if options["padding"] == 1:
        size = [(length - kernel) // options["strideH"] + 1 for length in shape[1:3]]
    output = graph.int8((1, *size, channels))
    return graph.operator("CONV_2D", [source, weights, bias], output, "Conv2DOptions", **options)
