"""onnxruntime's own format (ORT format), read through the flatbuffer tables that onnxruntime ships."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

KERNEL_INPUT = {
    "Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "Gemm": 1, "FusedGemm": 1, "MatMul": 1, "FusedMatMul": 1,
    "QLinearConv": 3, "QGemm": 3, "QLinearMatMul": 3,
}  # fmt: skip
"""Index of an operator's kernel among its inputs."""
TENSOR_DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 10: np.float16}


def read_ort(path: Path) -> Any:
    """Return the root table of an `.ort` file, an `InferenceSession`. ArtifactError for any other."""
    session = _root_table(bytearray(path.read_bytes()))
    if session is None:
        raise ArtifactError(f"{path}: expected a model in ORT format, found none")
    return session


def _root_table(data: bytearray) -> Any:
    import onnxruntime.tools.ort_format_model  # noqa: F401 - puts the tables on Python's path
    from ort_flatbuffers_py.fbs.InferenceSession import InferenceSession  # type: ignore[import-not-found]

    is_ort = InferenceSession.InferenceSessionBufferHasIdentifier(data, 0)
    return InferenceSession.GetRootAs(data, 0) if is_ort else None


def kernels(path: Path) -> dict[str, NDArray[Any]]:
    """Return the weights of convolutions and dense layers, by tensor name."""
    graph = read_ort(path).Model().Graph()
    constants = {}
    for index in range(graph.InitializersLength()):
        tensor = graph.Initializers(index)
        constants[tensor.Name().decode()] = tensor
    weights = {}
    for index in range(graph.NodesLength()):
        node = graph.Nodes(index)
        position = KERNEL_INPUT.get(node.OpType().decode())
        if position is not None and node.Inputs(position).decode() in constants:
            name = node.Inputs(position).decode()
            tensor = constants[name]
            shape = [tensor.Dims(axis) for axis in range(tensor.DimsLength())]
            values = np.frombuffer(tensor.RawDataAsNumpy().tobytes(), TENSOR_DTYPES[tensor.DataType()])
            weights[name] = values.reshape(shape)
    return weights


def sort_kernel_types(data: bytes) -> bytes:
    """Return an ORT-format model with its list of kernel types sorted, so that its bytes are reproducible.

    onnxruntime writes that list in the order of a hash table, which differs between processes. It is written last, and
    flatbuffers grow towards their beginning: all bytes behind it stay as they are.
    """
    import flatbuffers

    session = _root_table(bytearray(data))
    model = session.Model()._tab
    vtable = model.Pos - _int32(data, model.Pos)  # written just before its table
    tail = data[min(model.Pos, vtable) :]
    builder = flatbuffers.Builder(len(tail) + 65536)
    builder.Bytes[len(builder.Bytes) - len(tail) :] = tail
    builder.head = len(builder.Bytes) - len(tail)
    builder.minalign = 16
    version = builder.CreateString(session.OrtVersion().decode())
    resolver = _write_resolver(builder, session.KernelTypeStrResolver())
    builder.StartObject(4)
    builder.PrependUOffsetTRelativeSlot(3, resolver, 0)
    builder.PrependUOffsetTRelativeSlot(1, len(data) - model.Pos, 0)
    builder.PrependUOffsetTRelativeSlot(0, version, 0)
    builder.Finish(builder.EndObject(), b"ORTM")
    return bytes(builder.Output())


def _write_resolver(builder: Any, resolver: Any) -> int:
    """Write the list of kernel types, sorted by operator, type parameter and argument; return its offset."""
    operators = {}
    for number in range(resolver.OpKernelTypeStrArgsLength()):
        operator = resolver.OpKernelTypeStrArgs(number)
        type_arguments = {}
        for position in range(operator.KernelTypeStrArgsLength()):
            entry = operator.KernelTypeStrArgs(position)
            arguments = [entry.Args(index) for index in range(entry.ArgsLength())]
            type_arguments[entry.KernelTypeStr()] = sorted((item.ArgType(), item.Index()) for item in arguments)
        operators[operator.OpId()] = type_arguments
    operator_offsets = []
    for name, type_arguments in sorted(operators.items()):
        type_offsets = []
        for kernel_type, arguments in sorted(type_arguments.items()):
            argument_offsets = []
            for argument_type, index in arguments:
                builder.StartObject(2)
                builder.PrependUint32Slot(1, index, 0)
                builder.PrependInt8Slot(0, argument_type, 0)
                argument_offsets.append(builder.EndObject())
            type_offsets.append(_entry(builder, kernel_type, argument_offsets))
        operator_offsets.append(_entry(builder, name, type_offsets))
    vector = _vector(builder, operator_offsets)
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, vector, 0)
    return int(builder.EndObject())


def _entry(builder: Any, key: bytes, offsets: list[int]) -> int:
    """Write a table of a name and a vector of offsets, as both levels of the list are; return its offset."""
    vector, name = _vector(builder, offsets), builder.CreateString(key.decode())
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(1, vector, 0)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    return int(builder.EndObject())


def _vector(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _int32(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 4], "little", signed=True)
