"""Kernels of a model file as they are stored, and the quantization of its input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError
from feredge.inspection import flatbuffer

ONNX_KERNEL_OPS = ("Conv", "Gemm", "MatMul")
LAYOUT_OPS = ("Reshape", "Transpose")  # may stand between the input and the first layer, where NHWC becomes NCHW
SMALL_KERNEL = 1024  # weight-only int8 in TFLite leaves kernels of fewer values in float


@dataclass(frozen=True, eq=False)
class StoredTensors:
    """Tensors of a model file, read from its own structures, not through a runtime.

    Attributes:
        kernels: weights of convolutions and dense layers, by tensor name, with the dtype they are stored in.
        float_tensors: names of the floating-point tensors, weights and activations. TFLite only.
        input_quantization: scale and zero point of the input, None where it is no quantized `uint8` tensor.
    """

    kernels: dict[str, NDArray[Any]]
    float_tensors: tuple[str, ...]
    input_quantization: tuple[np.float32, int] | None

    @property
    def sparsity(self) -> float:
        """Share of all kernel values that are zero."""
        size = sum(kernel.size for kernel in self.kernels.values())
        return 1.0 - sum(int(np.count_nonzero(kernel)) for kernel in self.kernels.values()) / max(size, 1)


def read(path: Path) -> StoredTensors:
    """Return the stored tensors of a file of any format, as its runtime loads them; of `.c`, those of its model."""
    if path.suffix == ".ort":
        from feredge.inspection import ort_format

        return StoredTensors(ort_format.kernels(path), (), None)
    return _read_onnx(path) if path.suffix == ".onnx" else _read_tflite(path)


def _read_tflite(path: Path) -> StoredTensors:
    model = flatbuffer.read(path)
    graph = model.subgraphs[0]
    producers = {index: operator for operator in graph.operators for index in operator.outputs}
    kernels = {}
    for operator in flatbuffer.kernel_operators(model):
        index = operator.inputs[1]
        if index in producers:  # float16 kernels go through a DEQUANTIZE
            index = producers[index].inputs[0]
        kernels[graph.tensors[index].name.decode()] = _without_zero_point(model, index)
    types = [(tensor.name.decode(), flatbuffer.type_name(tensor)) for tensor in graph.tensors]
    image = graph.tensors[graph.inputs[0]]
    quantization = None
    if types[graph.inputs[0]][1] == "UINT8" and image.quantization is not None and image.quantization.scale is not None:
        quantization = np.float32(image.quantization.scale[0]), int(image.quantization.zeroPoint[0])
    return StoredTensors(kernels, tuple(name for name, kind in types if kind.startswith("FLOAT")), quantization)


def _without_zero_point(model: flatbuffer.ModelT, index: int) -> NDArray[Any]:
    """Return a kernel with its zero point subtracted. Of int8 kernels only that of a MUL has one other than 0."""
    values, quantization = flatbuffer.constant(model, index), model.subgraphs[0].tensors[index].quantization
    if (
        values.dtype != np.int8
        or quantization is None
        or quantization.zeroPoint is None
        or len(quantization.zeroPoint) != 1
    ):
        return values
    shifted: NDArray[np.int8] = values - np.int8(quantization.zeroPoint[0])  # modulo 256: distinct values stay distinct
    return shifted


def _read_onnx(path: Path) -> StoredTensors:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    kernels = {}
    for node in graph.node:
        if node.op_type in ONNX_KERNEL_OPS:
            name = node.input[1]
            while name not in initializers and name in producers:  # through DequantizeLinear, or Cast and Mul
                name = producers[name].input[0]
            if name in initializers:
                kernels[name] = numpy_helper.to_array(initializers[name])
    joined = (node.output[0] for node in graph.node if node.op_type == "Concat" and graph.input[0].name in node.input)
    node = consumer(graph, next(joined, graph.input[0].name))  # a mirror variant joins two views of the image first
    while node.op_type in LAYOUT_OPS:
        node = consumer(graph, node.output[0])
    if node.op_type == "DequantizeLinear":
        return StoredTensors(kernels, (), scale_and_zero_point(graph, node))
    return StoredTensors(kernels, (), _scale_of_cast(graph, node, initializers))


def _scale_of_cast(graph: Any, node: Any, initializers: dict[str, Any]) -> tuple[np.float32, int] | None:
    """Return the factor of `Mul(Cast(pixels), factor)` and zero, as `scale_pixels` writes it; None for other nodes.

    An int8 file begins so where its first layer stays in float: elementwise normalizations have no int8 kernel.
    """
    from onnx import numpy_helper

    if node.op_type != "Cast":
        return None
    product = consumer(graph, node.output[0])
    factors = [numpy_helper.to_array(initializers[name]) for name in product.input if name in initializers]
    if product.op_type != "Mul" or len(factors) != 1 or factors[0].size != 1:
        return None
    return np.float32(factors[0].item()), 0


def consumer(graph: Any, name: str) -> Any:
    """Return the one node that takes tensor `name`; ArtifactError where there are none or several."""
    nodes = [node for node in graph.node if name in node.input]
    if len(nodes) != 1:
        raise ArtifactError(f"expected one operation on {name!r}, found {len(nodes)}")
    return nodes[0]


def scale_and_zero_point(graph: Any, node: Any) -> tuple[np.float32, int] | None:
    """Return scale and zero point of a QuantizeLinear or DequantizeLinear node, None where they are no scalars."""
    from onnx import numpy_helper

    initializers = {tensor.name: tensor for tensor in graph.initializer}
    scale, zero_point = (numpy_helper.to_array(initializers[name]) for name in node.input[1:3])
    return (np.float32(scale), int(zero_point)) if scale.size == zero_point.size == 1 else None
