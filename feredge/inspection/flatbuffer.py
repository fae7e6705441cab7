"""TensorFlow Lite's file format: reading a model as objects, writing it back, and looking at its tensors."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.inference import tflite

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "MUL")
"""Operators whose second input is a kernel. That of a MUL is one where it is a constant that differs by place."""
IDENTIFIER = b"TFL3"
ALIGNED = 16  # bytes; kernels read constants in vectors of as many


def parse(model: bytes) -> Any:
    """Return the objects of a flatbuffer, as the schema's `ModelT`."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(model, 0)


def pack(model: Any) -> bytes:
    """Return the flatbuffer of a `ModelT`, its constants aligned, which the schema's own writer forgets."""
    import flatbuffers

    for buffer in model.buffers:
        buffer.Pack = functools.partial(_pack_buffer, buffer)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _pack_buffer(buffer: Any, builder: Any) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    at = None
    if buffer.data is not None and len(buffer.data):
        data = np.asarray(buffer.data, np.uint8).tobytes()
        builder.StartVector(1, len(data), ALIGNED)
        builder.head -= len(data)
        builder.Bytes[builder.head : builder.head + len(data)] = data
        at = builder.EndVector()
    schema.BufferStart(builder)
    if at is not None:
        schema.BufferAddData(builder, at)
    return schema.BufferEnd(builder)


def operator_names(model: Any) -> list[str]:
    """Return the kind of each operator of a `ModelT`'s graph: `CONV_2D`."""
    known = _names("BuiltinOperator")
    kinds = [known[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    return [kinds[operator.opcodeIndex] for operator in model.subgraphs[0].operators]


def weighted(model: Any) -> list[Any]:
    """Return the operators of a `ModelT` that have a kernel, in the graph's order."""
    graph = model.subgraphs[0]
    pairs = [*zip(operator_names(model), graph.operators, strict=True)]
    # float16 kernels go through a DEQUANTIZE
    computed = {index for kind, operator in pairs if kind != "DEQUANTIZE" for index in operator.outputs}

    def by_place(operator: Any) -> bool:
        index = operator.inputs[1]
        constant = index not in computed and index not in graph.inputs
        return constant and len(shape := graph.tensors[index].shape) == 4 and shape[1] * shape[2] > 1

    return [operator for kind, operator in pairs if kind in WEIGHTED and (kind != "MUL" or by_place(operator))]


def constant(model: Any, index: int) -> NDArray[Any]:
    """Return the values of a constant tensor of a `ModelT`, in the type and shape that they are stored in."""
    tensor = model.subgraphs[0].tensors[index]
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes()
    return np.frombuffer(data, type_name(tensor).lower()).reshape(tensor.shape)


def store(model: Any, index: int, values: NDArray[Any]) -> None:
    """Overwrite the values of a constant tensor of a `ModelT`, of the same type and shape."""
    model.buffers[model.subgraphs[0].tensors[index].buffer].data = np.frombuffer(values.tobytes(), np.uint8)


def type_name(tensor: Any) -> str:
    """Return the type of a `TensorT`, as the schema has it: `INT8`."""
    return _names("TensorType")[tensor.type]


@functools.cache
def _names(kind: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {code: name for name, code in vars(getattr(schema, kind)).items() if isinstance(code, int)}


def kernel_outputs(model: bytes) -> dict[str, str]:
    """Return the tensor that each layer with a kernel gives, by the layer's Keras name, in the graph's order."""
    parsed = parse(model)
    outputs = [output_name(parsed, operator) for operator in weighted(parsed)]
    return {layer_of(output): output for output in outputs}


def output_name(model: Any, operator: Any) -> str:
    """Return the name of the tensor that an operator of a `ModelT` gives."""
    return str(model.subgraphs[0].tensors[operator.outputs[0]].name.decode())


def layer_of(tensor: str) -> str:
    """Return the Keras layer that a tensor belongs to: of a fused one the last named, which is the one with the kernel.

    `core/stem_relu/Relu;core/stem_norm/FusedBatchNormV3;core/stem_conv/Conv2D1` is of `stem_conv`.
    """
    paths = [path.split("/") for path in tensor.split(";")]
    return paths[-1][1] if len(paths[-1]) > 2 else paths[-1][0]


def computed(model: bytes) -> dict[int, str]:
    """Return the names of the float tensors that a flatbuffer's operators write, by index."""
    graph = parse(model).subgraphs[0]
    written = {int(index) for operator in graph.operators for index in operator.outputs}
    return {index: graph.tensors[index].name.decode() for index in sorted(written) if graph.tensors[index].type == 0}


def open_whole(model: bytes) -> Any:
    """Return an interpreter that keeps every tensor it computes: without XNNPACK, which keeps none."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return interpreter


def dequantized(interpreter: Any, index: int) -> NDArray[np.float32]:
    """Return a tensor's values as real numbers."""
    detail = next(item for item in interpreter.get_tensor_details() if item["index"] == index)
    values = tflite.dequantize(interpreter.get_tensor(index), *detail["quantization"])
    return values.astype(np.float32)  # type: ignore[no-any-return]
