"""Networks that Keras 3 saved, as Keras 2 networks: what is compressed here needs Keras 2.

The two describe the same layers a little differently. Weights have the same order.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from feredge.keras import keras

LEARNT = ("_initializer", "_regularizer", "_constraint")
"""Ends of settings that matter in training only."""


def is_keras3(described: Any) -> bool:
    """Say whether a file's description is Keras 3's: it gives an input's `batch_shape`."""
    if isinstance(described, dict):
        return "batch_shape" in described or any(is_keras3(item) for item in described.values())
    return isinstance(described, list) and any(is_keras3(item) for item in described)


def open_keras3(path: Path) -> Any:
    """Return the network in a `.keras` or `.h5` file of Keras 3, which must have been found free of code before.

    Raises:
        Exception: whatever either Keras raises for what it does not know.
    """
    import keras as current  # type: ignore[import-untyped] # noqa: TID251 - reads the file, computes nothing

    network = current.saving.load_model(path, compile=False, safe_mode=True)
    if not isinstance(network, current.Sequential):
        config = network.get_config()
    else:
        config = current.Model(network.inputs, network.outputs).get_config()
    translated = {
        "name": config["name"],
        "layers": [_translated(layer) for layer in config["layers"]],
        "input_layers": _listed(config["input_layers"]),
        "output_layers": _listed(config["output_layers"]),
    }
    model = keras.Model.from_config(translated)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(network.get_layer(layer.name).get_weights())
    return model


def _translated(layer: dict[str, Any]) -> dict[str, Any]:
    kind, given = layer["class_name"], layer["config"]
    if kind == "InputLayer":
        config = {"batch_input_shape": given["batch_shape"], "dtype": "float32", "name": given["name"]}
    else:
        known = {"name", "trainable"}
        for base in getattr(keras.layers, kind).__mro__[:-1]:
            known |= set(inspect.signature(base.__init__).parameters)
        config = {key: value for key, value in given.items() if key in known and not key.endswith(LEARNT)}
        config["dtype"] = "float32"
    nodes = [_sources(node["args"]) for node in layer["inbound_nodes"]]
    return {"class_name": kind, "config": config, "name": given["name"], "inbound_nodes": nodes}


def _sources(given: Any) -> list[Any]:
    """Return the tensors that a layer is called on: [[layer, node, tensor, {}], ...]."""
    if isinstance(given, dict) and given.get("class_name") == "__keras_tensor__":
        return [[*given["config"]["keras_history"], {}]]
    return [source for item in given for source in _sources(item)] if isinstance(given, list | tuple) else []


def _listed(places: list[Any]) -> list[Any]:
    """Return input or output places as a list of them: a single one is no list in Keras 3."""
    return [places] if places and isinstance(places[0], str) else places
