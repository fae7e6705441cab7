"""An ONNX graph as plain Python: nodes in topological order, constants as arrays."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError, UnsupportedNetworkError

MAX_NODES = 5000
"""Of a simplified graph; networks of hundreds of layers have fewer."""
NAME_LENGTH = 80  # of a node's name in a message


@dataclass(eq=False)
class Node:
    """An operator of a graph; an input that is absent is an empty name."""

    operator: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)


class UnsupportedOperatorError(UnsupportedNetworkError):
    """An operator, or a form of one, that no Keras layer of the importer computes."""

    def __init__(self, node: Node, reason: str = "") -> None:
        super().__init__(
            f"expected operators with a Keras layer, found {node.operator:.{NAME_LENGTH}} "
            f"(node {node.name[:NAME_LENGTH]!r}){f' with {reason}' if reason else ''}"
        )


@dataclass(eq=False)
class OnnxGraph:
    """A graph of one input and one output.

    Attributes:
        input: name of the input.
        input_shape: its dimensions.
        output: name of the output.
        nodes: in topological order, only those that the output depends on.
        constants: initializers by name; floating-point ones are float32.
    """

    input: str
    input_shape: tuple[int, ...]
    output: str
    nodes: list[Node]
    constants: dict[str, NDArray[Any]]

    @property
    def producers(self) -> dict[str, Node]:
        """The node that computes each tensor, by the tensor's name."""
        return {name: node for node in self.nodes for name in node.outputs}

    @property
    def consumer_counts(self) -> Counter[str]:
        """How often each tensor is read, the graph's output included."""
        return Counter([self.output, *(name for node in self.nodes for name in node.inputs)])

    def remove_unused(self) -> None:
        """Remove the nodes that the output does not depend on."""
        used, nodes = {self.output}, []
        for node in reversed(self.nodes):
            if not used.isdisjoint(node.outputs):
                used.update(node.inputs)
                nodes.append(node)
        self.nodes = nodes[::-1]


def parse_graph(model: Any) -> OnnxGraph:
    """Return the graph of a simplified ONNX `ModelProto`.

    Raises:
        ArtifactError: more nodes than MAX_NODES, or an output that no node computes.
    """
    from onnx import helper, numpy_helper

    proto = model.graph
    if len(proto.node) > MAX_NODES:
        raise ArtifactError(f"expected at most {MAX_NODES} operators, found {len(proto.node)}")
    constants = {tensor.name: _as_float32(numpy_helper.to_array(tensor)) for tensor in proto.initializer}
    nodes = []
    for node in proto.node:
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
            constants[node.output[0]] = _as_float32(numpy_helper.to_array(attributes["value"]))
        else:
            name = node.name or node.output[0]
            nodes.append(Node(node.op_type, name, [*node.input], [*node.output], attributes))
    (model_input,) = (value for value in proto.input if value.name not in constants)
    shape = tuple(dim.dim_value for dim in model_input.type.tensor_type.shape.dim)
    graph = OnnxGraph(model_input.name, shape, proto.output[0].name, nodes, constants)
    graph.remove_unused()
    if graph.output not in graph.producers:
        raise ArtifactError("expected a network, found a graph whose output is its input or a constant")
    return graph


def _as_float32(values: NDArray[Any]) -> NDArray[Any]:
    """Return floating-point values, of any precision, as float32; other values as they are."""
    return values.astype(np.float32) if np.issubdtype(values.dtype, np.floating) else values
