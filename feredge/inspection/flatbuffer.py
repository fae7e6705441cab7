"""TensorFlow Lite models as object trees of the flatbuffer schema: reading, writing, and access to their tensors."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from feredge.inference import tflite
from feredge.inference.c_source import read_c_source

ModelT: TypeAlias = Any
"""The schema's `ModelT`; its generated module has no types."""

KERNEL_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "MUL")
"""Operators whose second input is a kernel; that of a MUL only where it is a constant with a spatial extent."""
FILE_IDENTIFIER = b"TFL3"
BUFFER_ALIGNMENT = 16  # bytes; kernels read constants in vectors of this size


def read(path: Path) -> ModelT:
    """Return the model of a `.tflite` file, or that which a `.c` file was generated from."""
    data = path.read_bytes()
    return parse(read_c_source(data).model if path.suffix == ".c" else data)


def parse(model: bytes) -> ModelT:
    """Return the object tree of a flatbuffer."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(model, 0)


def pack(model: ModelT) -> bytes:
    """Return the flatbuffer of a model, its buffers aligned, which the schema's own writer leaves out."""
    import flatbuffers

    for buffer in model.buffers:
        buffer.Pack = functools.partial(_pack_buffer, buffer)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _pack_buffer(buffer: Any, builder: Any) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    vector = None
    if buffer.data is not None and len(buffer.data):
        data = np.asarray(buffer.data, np.uint8).tobytes()
        builder.StartVector(1, len(data), BUFFER_ALIGNMENT)
        builder.head -= len(data)
        builder.Bytes[builder.head : builder.head + len(data)] = data
        vector = builder.EndVector()
    schema.BufferStart(builder)
    if vector is not None:
        schema.BufferAddData(builder, vector)
    return schema.BufferEnd(builder)


def operator_names(model: ModelT) -> list[str]:
    """Return the builtin operator of each node of the first subgraph: `CONV_2D`."""
    names = _enum_names("BuiltinOperator")
    by_code = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    return [by_code[operator.opcodeIndex] for operator in model.subgraphs[0].operators]


def kernel_operators(model: ModelT) -> list[Any]:
    """Return the operators that have a kernel, in the graph's order."""
    graph = model.subgraphs[0]
    pairs = [*zip(operator_names(model), graph.operators, strict=True)]
    # float16 kernels go through a DEQUANTIZE
    activations = {index for name, operator in pairs if name != "DEQUANTIZE" for index in operator.outputs}
    activations |= {*graph.inputs}

    def has_spatial_kernel(operator: Any) -> bool:
        index = operator.inputs[1]
        shape = dims(graph.tensors[index])
        return index not in activations and len(shape) == 4 and shape[1] * shape[2] > 1

    return [
        operator
        for name, operator in pairs
        if name in KERNEL_OPERATORS and (name != "MUL" or has_spatial_kernel(operator))
    ]


def dims(tensor: Any) -> list[int]:
    """Return a tensor's shape; a free dimension is 1, a scalar's shape `[1]`."""
    return [max(int(side), 1) for side in tensor.shape] if tensor.shape is not None else [1]


def constant(model: ModelT, index: int) -> NDArray[Any]:
    """Return the values of a constant tensor, in the dtype and shape that they are stored in."""
    tensor = model.subgraphs[0].tensors[index]
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes()
    return np.frombuffer(data, type_name(tensor).lower()).reshape(tensor.shape)


def store(model: ModelT, index: int, values: NDArray[Any]) -> None:
    """Overwrite the values of a constant tensor; dtype and shape must be those of the tensor."""
    model.buffers[model.subgraphs[0].tensors[index].buffer].data = np.frombuffer(values.tobytes(), np.uint8)


def type_name(tensor: Any) -> str:
    """Return the schema's type of a tensor: `INT8`."""
    return _enum_names("TensorType")[tensor.type]


@functools.cache
def _enum_names(enum: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {code: name for name, code in vars(getattr(schema, enum)).items() if isinstance(code, int)}


def kernel_outputs(model: bytes) -> dict[str, str]:
    """Return the output tensor of each layer with a kernel, by the layer's Keras name, in the graph's order."""
    parsed = parse(model)
    outputs = [output_name(parsed, operator) for operator in kernel_operators(parsed)]
    return {layer_of(output): output for output in outputs}


def output_name(model: ModelT, operator: Any) -> str:
    """Return the name of an operator's output tensor."""
    return str(model.subgraphs[0].tensors[operator.outputs[0]].name.decode())


def layer_of(tensor: str) -> str:
    """Return the Keras layer that a tensor's name comes from: of fused layers the last, which has the kernel.

    `core/stem_relu/Relu;core/stem_norm/FusedBatchNormV3;core/stem_conv/Conv2D1` is of `stem_conv`.
    """
    paths = [path.split("/") for path in tensor.split(";")]
    return paths[-1][1] if len(paths[-1]) > 2 else paths[-1][0]


def float_activations(model: bytes) -> dict[int, str]:
    """Return the names of the float32 tensors that a flatbuffer's operators compute, by index."""
    graph = parse(model).subgraphs[0]
    outputs = {int(index) for operator in graph.operators for index in operator.outputs}
    return {
        index: graph.tensors[index].name.decode()
        for index in sorted(outputs)
        if type_name(graph.tensors[index]) == "FLOAT32"
    }


def preserving_interpreter(model: bytes) -> Any:
    """Return an interpreter that preserves all intermediate tensors: without XNNPACK, which preserves none."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return interpreter


def float_values(interpreter: Any, index: int) -> NDArray[np.float32]:
    """Return an interpreter's tensor, dequantized."""
    detail = next(item for item in interpreter.get_tensor_details() if item["index"] == index)
    values = tflite.dequantize(interpreter.get_tensor(index), *detail["quantization"])
    return values.astype(np.float32)  # type: ignore[no-any-return]
