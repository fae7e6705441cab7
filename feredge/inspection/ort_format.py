"""onnxruntime's own format, read through the tables that onnxruntime brings."""

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
"""Which input of an operation is its kernel."""
TYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 10: np.float16}


def open_session(path: Path) -> Any:
    """Return the root table of an `.ort` file. ArtifactError for any other."""
    session = _session(bytearray(path.read_bytes()))
    if session is None:
        raise ArtifactError(f"{path}: expected a model in ORT format, found none")
    return session


def _session(data: bytearray) -> Any:
    import onnxruntime.tools.ort_format_model  # noqa: F401 - puts the tables on Python's path
    from ort_flatbuffers_py.fbs.InferenceSession import InferenceSession  # type: ignore[import-not-found]

    known = InferenceSession.InferenceSessionBufferHasIdentifier(data, 0)
    return InferenceSession.GetRootAs(data, 0) if known else None


def kernels(path: Path) -> dict[str, NDArray[Any]]:
    """Return the weights of convolutions and dense layers, by tensor name."""
    graph = open_session(path).Model().Graph()
    constants = {}
    for index in range(graph.InitializersLength()):
        tensor = graph.Initializers(index)
        constants[tensor.Name().decode()] = tensor
    found = {}
    for index in range(graph.NodesLength()):
        node = graph.Nodes(index)
        position = KERNEL_INPUT.get(node.OpType().decode())
        if position is not None and node.Inputs(position).decode() in constants:
            name = node.Inputs(position).decode()
            tensor = constants[name]
            shape = [tensor.Dims(axis) for axis in range(tensor.DimsLength())]
            values = np.frombuffer(tensor.RawDataAsNumpy().tobytes(), TYPES[tensor.DataType()])
            found[name] = values.reshape(shape)
    return found


def pinned(data: bytes) -> bytes:
    """Return an ORT-format model with its list of kernel types in alphabetical order.

    onnxruntime writes that list in the order of a hash table, which is another one in each process. It is the last
    that is written, and flatbuffers grow towards their beginning: all behind it stays as it is.
    """
    import flatbuffers

    session = _session(bytearray(data))
    model = session.Model()._tab
    table = model.Pos - _int32(data, model.Pos)  # what says where its fields are, written just before it
    tail = data[min(model.Pos, table) :]
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
    operations = {}
    for number in range(resolver.OpKernelTypeStrArgsLength()):
        operation = resolver.OpKernelTypeStrArgs(number)
        kinds = {}
        for place in range(operation.KernelTypeStrArgsLength()):
            kind = operation.KernelTypeStrArgs(place)
            arguments = [kind.Args(index) for index in range(kind.ArgsLength())]
            kinds[kind.KernelTypeStr()] = sorted((item.ArgType(), item.Index()) for item in arguments)
        operations[operation.OpId()] = kinds
    rows = []
    for name, kinds in sorted(operations.items()):
        parts = []
        for kind, arguments in sorted(kinds.items()):
            ends = []
            for argument, index in arguments:
                builder.StartObject(2)
                builder.PrependUint32Slot(1, index, 0)
                builder.PrependInt8Slot(0, argument, 0)
                ends.append(builder.EndObject())
            parts.append(_entry(builder, kind, ends))
        rows.append(_entry(builder, name, parts))
    listed = _vector(builder, rows)
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, listed, 0)
    return int(builder.EndObject())


def _entry(builder: Any, key: bytes, items: list[int]) -> int:
    """Write a table of a name and a vector, as both levels of the list are."""
    listed, name = _vector(builder, items), builder.CreateString(key.decode())
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(1, listed, 0)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    return int(builder.EndObject())


def _vector(builder: Any, items: list[int]) -> int:
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):
        builder.PrependUOffsetTRelative(item)
    return int(builder.EndVector())


def _int32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little", signed=True)
