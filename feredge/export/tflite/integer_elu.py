"""ELUs of int8 flatbuffers in integers.

TensorFlow's quantizer leaves each one in float, between a dequantization and a quantization. LiteRT has a kernel for
int8, which is a table of 256 values.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from feredge.inspection import flatbuffer


def with_integer_elus(model: bytes) -> bytes:
    """Return `model` with ELUs in int8 where what they take and what they give are quantized anyway."""
    parsed = flatbuffer.parse(model)
    graph = parsed.subgraphs[0]
    kinds = dict(zip(map(id, graph.operators), flatbuffer.operator_names(parsed), strict=True))
    if "ELU" not in kinds.values():
        return model
    makers = {int(operator.outputs[0]): operator for operator in graph.operators}
    readers = Counter(int(index) for operator in graph.operators for index in operator.inputs)
    after = {int(operator.inputs[0]): operator for operator in graph.operators if kinds[id(operator)] == "QUANTIZE"}
    for elu in [operator for operator in graph.operators if kinds[id(operator)] == "ELU"]:
        given, made = int(elu.inputs[0]), int(elu.outputs[0])
        before, then = makers.get(given), after.get(made)
        if before is None or kinds[id(before)] != "DEQUANTIZE" or then is None or readers[made] > 1:
            continue
        graph.tensors[then.outputs[0]].name = graph.tensors[made].name
        elu.inputs, elu.outputs = before.inputs, then.outputs
        graph.operators.remove(then)
        readers[given] -= 1
        if not readers[given]:
            graph.operators.remove(before)
    _drop_unused(parsed)
    return flatbuffer.pack(parsed)


def _drop_unused(model: Any) -> None:
    """Take the tensors out that no operator reads or writes; all others move up."""
    graph = model.subgraphs[0]
    used = {int(index) for operator in graph.operators for index in (*operator.inputs, *operator.outputs)}
    used |= {int(index) for index in (*graph.inputs, *graph.outputs)}
    kept = sorted(used - {-1})  # an input that is left out
    moved = {old: new for new, old in enumerate(kept)} | {-1: -1}
    graph.tensors = [graph.tensors[old] for old in kept]
    for place in (graph, *graph.operators):
        place.inputs = [moved[int(index)] for index in place.inputs]
        place.outputs = [moved[int(index)] for index in place.outputs]
    for signature in model.signatureDefs or ():
        for end in (*signature.inputs, *signature.outputs):
            end.tensorIndex = moved[int(end.tensorIndex)]
