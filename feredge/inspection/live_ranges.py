"""Memory of the activations of one inference, by the live ranges of a TFLite graph's tensors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from feredge.inspection import flatbuffer


def peak_activation_bytes(path: Path) -> int:
    """Return the largest sum of bytes of the tensors that live at once, at any operator of a `.tflite` file.

    A tensor lives from the operator that computes it, or the start for an input, to the last that reads it, or the
    end for an output. No planner of a static arena can do with less, unless operators compute in place; the runtime's
    own structures, alignment and scratch buffers come on top.
    """
    graph = flatbuffer.read(path).subgraphs[0]
    operators = list(graph.operators)
    first = {int(index): -1 for index in graph.inputs}
    last: dict[int, int] = {}
    for position, operator in enumerate(operators):
        first |= {int(index): position for index in operator.outputs}
        last |= {int(index): position for index in (*operator.outputs, *operator.inputs)}
    last |= {int(index): len(operators) for index in graph.outputs}
    changes = np.zeros(len(operators) + 3, np.int64)
    for index, start in first.items():
        size = _bytes(graph.tensors[index])
        changes[start + 1] += size
        changes[last.get(index, start) + 2] -= size
    return int(changes.cumsum().max())


def _bytes(tensor: object) -> int:
    item = np.dtype({"BOOL": "bool"}.get(kind := flatbuffer.type_name(tensor), kind.lower())).itemsize
    return math.prod(flatbuffer.dims(tensor)) * item
