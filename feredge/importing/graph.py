"""A Keras network of version 2 or 3 as a flat list of layer calls.

Networks inside the network (a backbone, a block of augmentation) are inlined, and a layer that is called several times
becomes several layers with the same weights: compression and the converters handle neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from feredge.importing.allowlist import MODEL_CLASSES
from feredge.keras import KerasModel, keras

CONSTANT_MARKER = "_CONSTANT_VALUE"  # of Keras 2, in place of a layer's name
CONTEXT_ARGUMENTS = ("training", "mask", "name", "dtype")
"""Keyword arguments of a call that do not change the outputs in inference."""


@dataclass(frozen=True)
class TensorRef:
    """An output of a call: the call's name and the index among its outputs."""

    call: str
    index: int = 0


@dataclass
class Call:
    """One call of a layer, or of an operation that Keras recorded as one (`x / 127.5`).

    Attributes:
        name: unique in the graph.
        kind: class name of the layer; of an operation its function.
        config: configuration of the layer, in the form of its Keras version.
        arguments: positional arguments: `TensorRef`, constants, and lists of both.
        keywords: keyword arguments, likewise.
        weights: arrays in Keras's order.
    """

    name: str
    kind: str
    config: dict[str, Any]
    arguments: list[Any]
    keywords: dict[str, Any] = field(default_factory=dict)
    weights: list[Any] = field(default_factory=list)

    def refs(self) -> list[TensorRef]:
        """Return the tensors that the call reads."""
        return list(_refs([self.arguments, self.keywords]))

    def replace_refs(self, by: dict[TensorRef, TensorRef]) -> None:
        """Read other tensors, those of `by`, instead."""
        self.arguments, self.keywords = _replaced(self.arguments, by), _replaced(self.keywords, by)


@dataclass
class Graph:
    """A network: its inputs, its calls in an order in which they can be computed, and its outputs.

    Attributes:
        inputs: name of each input.
        calls: all calls.
        outputs: the output tensors.
        keras3: whether the configurations are of Keras 3.
    """

    inputs: list[str]
    calls: list[Call]
    outputs: list[TensorRef]
    keras3: bool = False

    def consumers(self, tensor: TensorRef) -> list[Call]:
        """Return the calls that read a tensor."""
        return [call for call in self.calls if tensor in call.refs()]


def flatten(network: KerasModel) -> Graph:
    """Return the graph of a network of Keras 2 or 3.

    Raises:
        ValueError: layers without a defined order of calls.
    """
    config = _functional_config(network)
    inputs = [name for name, *_ in as_list(config["input_layers"])]
    calls: list[Call] = []
    outputs = _inline(network, config, [TensorRef(name) for name in inputs], "", calls)
    return Graph(inputs, calls, outputs, keras3=not isinstance(network, keras.Model))


def as_list(tensors: Any) -> list[Any]:
    """Return input or output tensors of a configuration as a list: Keras 3 writes a single one without its list."""
    if isinstance(tensors, dict):
        return [tensor for item in tensors.values() for tensor in as_list(item)]
    return [tensors] if tensors and isinstance(tensors[0], str) else list(tensors)


def _functional_config(network: KerasModel) -> dict[str, Any]:
    """Return a network's configuration; of a Sequential with the calls that it leaves out."""
    config: dict[str, Any] = network.get_config()
    if "input_layers" in config:
        return config
    layers = [layer for layer in config["layers"] if layer["class_name"] != "InputLayer"]
    source = getattr(network, "input_names", ["input"])[0]
    names = [source, *(_name(layer) for layer in layers)]
    chained = [
        {**layer, "name": name, "inbound_nodes": [{"args": [_tensor(previous)], "kwargs": {}}]}
        for layer, name, previous in zip(layers, names[1:], names, strict=False)
    ]
    return {"layers": chained, "input_layers": [[source, 0, 0]], "output_layers": [[names[-1], 0, 0]]}


def _tensor(layer: str) -> dict[str, Any]:
    """Return the output of a layer's first call, as Keras 3 writes it."""
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [layer, 0, 0]}}


def _name(layer: dict[str, Any]) -> str:
    return str(layer.get("name") or layer["config"]["name"])


def _inline(
    network: KerasModel, config: dict[str, Any], inputs: list[TensorRef], prefix: str, calls: list[Call]
) -> list[TensorRef]:
    """Append the calls of `network`, applied to `inputs`, and return its outputs."""
    layers = {layer.name: layer for layer in network.layers}
    tensors: dict[tuple[str, int, int], TensorRef] = {
        (name, 0, 0): ref for (name, *_), ref in zip(as_list(config["input_layers"]), inputs, strict=True)
    }
    pending = [
        (layer, index, *_parse_node(node))
        for layer in config["layers"]
        for index, node in enumerate(layer["inbound_nodes"])
    ]
    while pending:
        ready = [entry for entry in pending if all(ref in tensors for ref in _refs([*entry[2:]], tuple))]
        if not ready:
            raise ValueError(f"layers that can be called one after another, found none to call of {len(pending)}")
        for layer, index, arguments, keywords in ready:
            name = _name(layer)
            arguments, keywords = _replaced(arguments, tensors), _replaced(keywords, tensors)
            results = _call(layers.get(name), layer, index, arguments, keywords, prefix, calls)
            node = index + _first_node(layer)
            tensors |= {(name, node, number): result for number, result in enumerate(results)}
        pending = [entry for entry in pending if entry not in ready]
    return [tensors[tuple(output[:3])] for output in as_list(config["output_layers"])]  # type: ignore[index]


def _first_node(layer: dict[str, Any]) -> int:
    """Return the index of a layer's first call: in Keras 2 a nested network counts its own input as a call before."""
    return int(layer["class_name"] in MODEL_CLASSES and not isinstance(layer["inbound_nodes"][0], dict))


def _call(
    layer: Any,
    config: dict[str, Any],
    index: int,
    arguments: list[Any],
    keywords: dict[str, Any],
    prefix: str,
    calls: list[Call],
) -> list[TensorRef]:
    """Append one call of a layer, or the calls of the network that it is, and return its outputs."""
    name = f"{prefix}{_name(config)}" + (f"_call{index + 1}" if index else "")
    if config["class_name"] in MODEL_CLASSES:
        return _inline(layer, _functional_config(layer), list(_refs(arguments)), f"{name}_", calls)
    keywords = {key: value for key, value in keywords.items() if key not in CONTEXT_ARGUMENTS and value is not None}
    kind, settings = _kind(config), {**config["config"], "name": name}
    weights = [] if layer is None else layer.get_weights()
    calls.append(Call(name, kind, settings, arguments, keywords, weights))
    outputs = getattr(layer, "output", None)
    return [TensorRef(name, number) for number in range(len(outputs) if isinstance(outputs, list | tuple) else 1)]


def _kind(config: dict[str, Any]) -> str:
    """Return the class of a layer, or an operation's function: `math.truediv` of Keras 2, `ops.TrueDivide` of 3."""
    class_name = str(config["class_name"])
    if class_name in ("TFOpLambda", "SlicingOpLambda"):
        return str(config["config"]["function"])
    return f"ops.{class_name}" if ".ops." in str(config.get("module")) else class_name


def _parse_node(node: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return a call's positional and keyword arguments; its tensors are `(layer, node, index)`."""
    if isinstance(node, dict):
        return [_parse_keras3(value) for value in node["args"]], _parse_keras3(node["kwargs"])
    entries = [node] if node and isinstance(node[0], str) else node
    keywords = {key: _parse_keras2(value) for entry in entries if len(entry) > 3 for key, value in entry[3].items()}
    values = [_parse_keras2(entry[:3]) for entry in entries]
    return [values[0] if len(values) == 1 else values], keywords


def _parse_keras2(value: Any) -> Any:
    """Return a constant, or a tensor `(layer, node, index)`, of a list in a Keras 2 configuration."""
    if not isinstance(value, list | tuple):
        return value
    if len(value) == 3 and value[0] == CONSTANT_MARKER:
        return _parse_keras2(value[2])
    is_tensor = len(value) == 3 and isinstance(value[0], str)
    return tuple(value) if is_tensor else [_parse_keras2(item) for item in value]


def _parse_keras3(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_parse_keras3(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config", {})
    if kind == "__keras_tensor__":
        return tuple(config["keras_history"])
    if kind in ("__tensor__", "__numpy__"):
        return config["value"]
    if kind == "__slice__":
        return {key: config[key] for key in ("start", "stop", "step")}
    if kind == "__ellipsis__":
        return ...
    return {key: _parse_keras3(item) for key, item in value.items()}


def _refs(value: Any, kind: Callable[..., Any] = TensorRef) -> Iterator[Any]:
    """Yield every value of a type in nested lists and dictionaries."""
    if isinstance(value, kind):  # type: ignore[arg-type]
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _refs(item, kind)
    elif isinstance(value, dict):
        yield from _refs(list(value.values()), kind)


def _replaced(value: Any, by: dict[Any, TensorRef]) -> Any:
    """Return nested lists and dictionaries with tensors replaced; others remain."""
    if isinstance(value, TensorRef | tuple):
        return by.get(value, value)
    if isinstance(value, list):
        return [_replaced(item, by) for item in value]
    return {key: _replaced(item, by) for key, item in value.items()} if isinstance(value, dict) else value
