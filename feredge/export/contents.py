"""What is inside a model file: its kernels as they are stored, and how its input is quantized."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError

TFLITE_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
ONNX_WEIGHTED = ("Conv", "Gemm", "MatMul")
LAYOUT = ("Reshape", "Transpose")  # may stand between the input and the first layer: tf2onnx goes from NHWC to NCHW
SMALL_KERNEL = 1024  # with weights only in int8, TFLite leaves kernels of fewer values in float


@dataclass(frozen=True, eq=False)
class Contents:
    """Read from a file's own structures, not from what a runtime makes of them.

    Attributes:
        kernels: weights of convolutions and dense layers, by tensor name, with the dtype they are stored in.
        floats: names of the tensors, weights and activations, that are floating point. TFLite only.
        pixels: scale and zero point of the input, None where it is no quantized `uint8` tensor.
    """

    kernels: dict[str, NDArray[Any]]
    floats: tuple[str, ...]
    pixels: tuple[np.float32, int] | None

    @property
    def sparsity(self) -> float:
        """Share of all kernel values that are zero."""
        size = sum(kernel.size for kernel in self.kernels.values())
        return 1.0 - sum(int(np.count_nonzero(kernel)) for kernel in self.kernels.values()) / max(size, 1)


def read(path: Path) -> Contents:
    """Return the contents of a `.tflite`, `.onnx` or `.ort` file that its runtime loads."""
    if path.suffix == ".ort":
        from feredge.export import ort_format

        return Contents(ort_format.kernels(path), (), None)
    return _read_tflite(path) if path.suffix == ".tflite" else _read_onnx(path)


def _read_tflite(path: Path) -> Contents:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    types = {code: name for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    made_by = {index: operator for operator in graph.operators for index in operator.outputs}
    kernels = {}
    for operator in graph.operators:
        if names[codes[operator.opcodeIndex]] in TFLITE_WEIGHTED:
            index = operator.inputs[1]
            if index in made_by:  # float16 kernels go through a DEQUANTIZE
                index = made_by[index].inputs[0]
            tensor = graph.tensors[index]
            raw = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
            values = np.frombuffer(raw.tobytes(), np.dtype(types[tensor.type].lower()))
            kernels[tensor.name.decode()] = values.reshape(tensor.shape)
    floats = tuple(tensor.name.decode() for tensor in graph.tensors if types[tensor.type].startswith("FLOAT"))
    image = graph.tensors[graph.inputs[0]]
    pixels = None
    if types[image.type] == "UINT8" and image.quantization is not None and image.quantization.scale is not None:
        pixels = np.float32(image.quantization.scale[0]), int(image.quantization.zeroPoint[0])
    return Contents(kernels, floats, pixels)


def _read_onnx(path: Path) -> Contents:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    kernels = {}
    for node in graph.node:
        if node.op_type in ONNX_WEIGHTED:
            name = node.input[1]
            while name not in known and name in made_by:  # through DequantizeLinear, or Cast and Mul
                name = made_by[name].input[0]
            if name in known:
                kernels[name] = numpy_helper.to_array(known[name])
    node = consumer(graph, graph.input[0].name)
    while node.op_type in LAYOUT:
        node = consumer(graph, node.output[0])
    pixels = scale_and_zero(graph, node) if node.op_type == "DequantizeLinear" else None
    return Contents(kernels, (), pixels)


def consumer(graph: Any, name: str) -> Any:
    """Return the one node that takes tensor `name`; ArtifactError where there are none or several."""
    found = [node for node in graph.node if name in node.input]
    if len(found) != 1:
        raise ArtifactError(f"expected one operation on {name!r}, found {len(found)}")
    return found[0]


def scale_and_zero(graph: Any, node: Any) -> tuple[np.float32, int] | None:
    """Return scale and zero point of a QuantizeLinear or DequantizeLinear node, None where they are no scalars."""
    from onnx import numpy_helper

    known = {tensor.name: tensor for tensor in graph.initializer}
    scale, zero_point = (numpy_helper.to_array(known[name]) for name in node.input[1:3])
    return (np.float32(scale), int(zero_point)) if scale.size == zero_point.size == 1 else None
