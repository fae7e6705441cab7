"""What is inside a model file: its kernels as they are stored, and how its input is quantized."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError
from feredge.inspection import flatbuffer

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
        from feredge.inspection import ort_format

        return Contents(ort_format.kernels(path), (), None)
    return _read_tflite(path) if path.suffix == ".tflite" else _read_onnx(path)


def _read_tflite(path: Path) -> Contents:
    model = flatbuffer.parse(path.read_bytes())
    graph = model.subgraphs[0]
    made_by = {index: operator for operator in graph.operators for index in operator.outputs}
    kernels = {}
    for operator in flatbuffer.weighted(model):
        index = operator.inputs[1]
        if index in made_by:  # float16 kernels go through a DEQUANTIZE
            index = made_by[index].inputs[0]
        kernels[graph.tensors[index].name.decode()] = _from_zero(model, index)
    types = [(tensor.name.decode(), flatbuffer.type_name(tensor)) for tensor in graph.tensors]
    image = graph.tensors[graph.inputs[0]]
    pixels = None
    if types[graph.inputs[0]][1] == "UINT8" and image.quantization is not None and image.quantization.scale is not None:
        pixels = np.float32(image.quantization.scale[0]), int(image.quantization.zeroPoint[0])
    return Contents(kernels, tuple(name for name, kind in types if kind.startswith("FLOAT")), pixels)


def _from_zero(model: Any, index: int) -> NDArray[Any]:
    """Return a kernel whose zeros are 0: of int8 ones only that of a product has a zero point other than that."""
    values, how = flatbuffer.constant(model, index), model.subgraphs[0].tensors[index].quantization
    if values.dtype != np.int8 or how is None or how.zeroPoint is None or len(how.zeroPoint) != 1:
        return values
    moved: NDArray[np.int8] = values - np.int8(how.zeroPoint[0])  # modulo 256: what differs still differs
    return moved


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
    pixels = scale_and_zero(graph, node) if node.op_type == "DequantizeLinear" else _float_scale(graph, node, known)
    return Contents(kernels, (), pixels)


def _float_scale(graph: Any, node: Any, known: dict[str, Any]) -> tuple[np.float32, int] | None:
    """Return the factor of `Mul(Cast(pixels), factor)` and zero, as `scale_pixels` writes it; None for other nodes.

    An int8 file begins so where its first layer stays in float: elementwise normalizations have no int8 kernel.
    """
    from onnx import numpy_helper

    if node.op_type != "Cast":
        return None
    product = consumer(graph, node.output[0])
    factors = [numpy_helper.to_array(known[name]) for name in product.input if name in known]
    if product.op_type != "Mul" or len(factors) != 1 or factors[0].size != 1:
        return None
    return np.float32(factors[0].item()), 0


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
