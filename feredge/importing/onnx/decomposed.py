"""Recognition of operators that exporters write as several: Gelu, HardSwish, LayerNormalization and others.

Opset 13 has no Gelu and opset 16 no LayerNormalization; each has an operator in a later opset, which replaces the
several here, as a Reshape does a Gather of all elements. Nodes that only the replaced ones needed are removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from feredge.importing.onnx.graph import Node, OnnxGraph

TOLERANCE = 1e-3  # of a constant that was rounded to float16


def join_decomposed(graph: OnnxGraph) -> None:
    """Replace decomposed operators of a graph by whole ones, in place."""
    for node in graph.nodes:
        matcher = _Matcher(graph)
        whole = matcher.product(node) or matcher.normalization(node) or matcher.reshape(node)
        if whole is not None:
            operator, inputs, attributes = whole
            node.operator, node.inputs, node.attributes = operator, inputs, attributes
    graph.remove_unused()


Whole = tuple[str, list[str], dict[str, Any]]
"""Operator, inputs and attributes of a node."""


class _Matcher:
    """Recognizes what the nodes before a node compute together."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._constants, self._producers = graph.constants, graph.producers

    def _scalar(self, name: str) -> float | None:
        values = self._constants.get(name)
        return float(values.ravel()[0]) if values is not None and values.size == 1 else None

    def _node(self, name: str, operator: str) -> Node | None:
        node = self._producers.get(name)
        return node if node is not None and node.operator == operator else None

    def _factors(self, name: str, depth: int = 0) -> tuple[float, list[str]]:
        """Return a product of tensors as its constant factor and the other factors."""
        node = self._producers.get(name)
        if node is None or node.operator not in ("Mul", "Div") or depth > 3:
            return 1.0, [name]
        left, right = node.inputs
        if node.operator == "Div":
            divisor = self._scalar(right)
            if not divisor:
                return 1.0, [name]
            constant, tensors = self._factors(left, depth + 1)
            return constant / divisor, tensors
        constant, tensors = 1.0, []
        for side in (left, right):
            scalar = self._scalar(side)
            factor, others = (scalar, []) if scalar is not None else self._factors(side, depth + 1)
            constant, tensors = constant * factor, [*tensors, *others]
        return constant, tensors

    def product(self, node: Node) -> Whole | None:
        """Return the activation that a Mul or Div node computes: x * gate(x), or a gate alone."""
        if node.operator not in ("Mul", "Div"):
            return None
        constant, tensors = self._factors(node.outputs[0])
        if len(tensors) == 1 and self._hard_gate(tensors[0]) and _close(constant, 1 / 6):
            return "HardSigmoid", [str(self._hard_gate(tensors[0]))], {"alpha": 1 / 6, "beta": 0.5}
        if len(tensors) != 2:
            return None
        gates: list[tuple[str, float, Callable[[str], str | None]]] = [
            ("Swish", 1.0, self._sigmoid),
            ("HardSwish", 1.0, self._hard_sigmoid),
            ("HardSwish", 1 / 6, self._hard_gate),
            ("Gelu", 0.5, self._erf_gate),
        ]
        for operator, factor, gate_input in gates:
            for x, gate in (tensors, tensors[::-1]):
                if _close(constant, factor) and gate_input(gate) == x:
                    return operator, [x], {}
        return None

    def _sigmoid(self, name: str) -> str | None:
        node = self._node(name, "Sigmoid")
        return node.inputs[0] if node else None

    def _hard_sigmoid(self, name: str) -> str | None:
        node = self._node(name, "HardSigmoid")
        if node is None or not _close(node.attributes.get("alpha", 0.2), 1 / 6):
            return None
        return node.inputs[0] if _close(node.attributes.get("beta", 0.5), 0.5) else None

    def _hard_gate(self, name: str) -> str | None:
        """Return x of Clip(x + 3, 0, 6)."""
        node = self._node(name, "Clip")
        if node is None or self._clip_bounds(node) != (0.0, 6.0):
            return None
        return self._sum_with(node.inputs[0], 3.0)

    def _clip_bounds(self, node: Node) -> tuple[float | None, float | None]:
        if "min" in node.attributes or "max" in node.attributes:
            return node.attributes.get("min"), node.attributes.get("max")
        low, high = ([*node.inputs, "", ""])[1:3]
        return self._scalar(low), self._scalar(high)

    def _erf_gate(self, name: str) -> str | None:
        """Return x of 1 + Erf(x / sqrt(2))."""
        erf_name = self._sum_with(name, 1.0)
        erf = self._node(erf_name, "Erf") if erf_name else None
        if erf is None:
            return None
        constant, tensors = self._factors(erf.inputs[0])
        return tensors[0] if len(tensors) == 1 and _close(constant, 1 / math.sqrt(2)) else None

    def _sum_with(self, name: str, constant: float) -> str | None:
        """Return the other term of a sum with a scalar constant."""
        node = self._node(name, "Add")
        if node is None:
            return None
        for x, other in (node.inputs, node.inputs[::-1]):
            scalar = self._scalar(other)
            if scalar is not None and _close(scalar, constant):
                return x
        return None

    def normalization(self, node: Node) -> Whole | None:
        """Return the LayerNormalization, without scale and shift, that d / sqrt(mean(d * d) + epsilon) computes."""
        if node.operator != "Div" or (root := self._node(node.inputs[1], "Sqrt")) is None:
            return None
        total = self._node(root.inputs[0], "Add")
        if total is None:
            return None
        centered = self._node(node.inputs[0], "Sub")
        for variance, epsilon in (total.inputs, total.inputs[::-1]):
            mean_of_squares = self._node(variance, "ReduceMean")
            if self._scalar(epsilon) is None or mean_of_squares is None or centered is None:
                continue
            square = self._producers.get(mean_of_squares.inputs[0])
            mean = self._node(centered.inputs[1], "ReduceMean")
            if square is None or mean is None or mean.inputs[0] != centered.inputs[0]:
                continue
            axes = self._axes(mean)
            if self._is_square(square, centered) and len(axes) == 1 and axes == self._axes(mean_of_squares):
                attributes = {"axis": axes[0], "axes": axes, "epsilon": self._scalar(epsilon)}
                return "LayerNormalization", [centered.inputs[0]], attributes
        return None

    def reshape(self, node: Node) -> Whole | None:
        """Return the Reshape that a Gather of all elements in their order computes, as torch's as_strided does."""
        if node.operator != "Gather" or node.attributes.get("axis", 0) != 0:
            return None
        flat, indices = self._node(node.inputs[0], "Reshape"), self._constants.get(node.inputs[1])
        if flat is None or indices is None or indices.ndim < 2 or len(indices) != 1:
            return None
        target = self._constants.get(flat.inputs[1], np.empty(0))
        if target.tolist() != [-1] or not np.array_equal(indices.ravel(), np.arange(indices.size)):
            return None
        name = f"{node.name}_shape"
        self._constants[name] = np.array(indices.shape, np.int64)
        return "Reshape", [flat.inputs[0], name], {}

    def _is_square(self, node: Node, centered: Node) -> bool:
        """Return whether a node squares what `centered` computes, or another node of the same inputs does."""
        bases = [self._producers.get(name) for name in node.inputs]
        exponent = node.operator == "Pow" and self._scalar(node.inputs[1]) == 2
        same = [
            base is not None and (base.operator, base.inputs) == (centered.operator, centered.inputs) for base in bases
        ]
        return (exponent and same[0]) or (node.operator == "Mul" and all(same))

    def _axes(self, node: Node) -> list[int]:
        if "axes" in node.attributes:
            return [*node.attributes["axes"]]
        return np.ravel(self._constants.get(node.inputs[1], [])).tolist() if len(node.inputs) > 1 else []


def _close(value: float, expected: float) -> bool:
    return abs(value - expected) <= TOLERANCE * abs(expected)
