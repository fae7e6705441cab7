"""ELU operators of int8 flatbuffers in int8.

TensorFlow's quantizer leaves each one in float32 between DEQUANTIZE and QUANTIZE. LiteRT's int8 kernel is a table of
256 values.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from feredge.inspection import flatbuffer


def convert_elus_to_int8(model: bytes) -> bytes:
    """Return `model` with each ELU in int8 whose input comes from DEQUANTIZE and whose output goes to QUANTIZE only."""
    parsed = flatbuffer.parse(model)
    graph = parsed.subgraphs[0]
    names = dict(zip(map(id, graph.operators), flatbuffer.operator_names(parsed), strict=True))
    if "ELU" not in names.values():
        return model
    producers = {int(operator.outputs[0]): operator for operator in graph.operators}
    reader_counts = Counter(int(index) for operator in graph.operators for index in operator.inputs)
    quantizes = {int(operator.inputs[0]): operator for operator in graph.operators if names[id(operator)] == "QUANTIZE"}
    for elu in [operator for operator in graph.operators if names[id(operator)] == "ELU"]:
        float_input, float_output = int(elu.inputs[0]), int(elu.outputs[0])
        dequantize, quantize = producers.get(float_input), quantizes.get(float_output)
        if dequantize is None or names[id(dequantize)] != "DEQUANTIZE":
            continue
        if quantize is None or reader_counts[float_output] > 1:
            continue
        graph.tensors[quantize.outputs[0]].name = graph.tensors[float_output].name
        elu.inputs, elu.outputs = dequantize.inputs, quantize.outputs
        graph.operators.remove(quantize)
        reader_counts[float_input] -= 1
        if not reader_counts[float_input]:
            graph.operators.remove(dequantize)
    _remove_unused_tensors(parsed)
    return flatbuffer.pack(parsed)


def _remove_unused_tensors(model: Any) -> None:
    """Remove the tensors that no operator reads or writes, and renumber the others."""
    graph = model.subgraphs[0]
    used = {int(index) for operator in graph.operators for index in (*operator.inputs, *operator.outputs)}
    used |= {int(index) for index in (*graph.inputs, *graph.outputs)}
    indices = sorted(used - {-1})  # -1 is an optional input that is absent
    new_index = {old: new for new, old in enumerate(indices)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in indices]
    for node in (graph, *graph.operators):
        node.inputs = [new_index[int(index)] for index in node.inputs]
        node.outputs = [new_index[int(index)] for index in node.outputs]
    for signature in model.signatureDefs or ():
        for tensor in (*signature.inputs, *signature.outputs):
            tensor.tensorIndex = new_index[int(tensor.tensorIndex)]
