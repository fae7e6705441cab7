"""Conversion of models saved by Keras 3 to Keras 2, which tensorflow-model-optimization requires.

Layer configurations differ in a few keys; weights have the same order.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from feredge.keras import KerasModel, keras

TRAINING_SUFFIXES = ("_initializer", "_regularizer", "_constraint")
"""Of settings that are used in training only."""


def is_keras3(config: Any) -> bool:
    """Return whether a model's configuration is of Keras 3, which has the key `batch_shape` for inputs."""
    if isinstance(config, dict):
        return "batch_shape" in config or any(is_keras3(item) for item in config.values())
    return isinstance(config, list) and any(is_keras3(item) for item in config)


def open_keras3(path: Path) -> KerasModel:
    """Return the network in a `.keras` or `.h5` file of Keras 3, which must have passed the audit.

    Raises:
        Exception: of any type, by either version of Keras.
    """
    import keras as keras3  # type: ignore[import-untyped] # noqa: TID251 - reads the file, computes nothing

    network = keras3.saving.load_model(path, compile=False, safe_mode=True)
    if not isinstance(network, keras3.Sequential):
        config = network.get_config()
    else:
        config = keras3.Model(network.inputs, network.outputs).get_config()
    keras2_config = {
        "name": config["name"],
        "layers": [_to_keras2(layer) for layer in config["layers"]],
        "input_layers": _as_list(config["input_layers"]),
        "output_layers": _as_list(config["output_layers"]),
    }
    model = keras.Model.from_config(keras2_config)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(network.get_layer(layer.name).get_weights())
    return model


def _to_keras2(layer: dict[str, Any]) -> dict[str, Any]:
    """Return the Keras 2 configuration of a layer."""
    class_name, keras3_config = layer["class_name"], layer["config"]
    if class_name == "InputLayer":
        shape = keras3_config["batch_shape"]
        config = {"batch_input_shape": shape, "dtype": "float32", "name": keras3_config["name"]}
    else:
        parameters = {"name", "trainable"}
        for base in getattr(keras.layers, class_name).__mro__[:-1]:
            parameters |= set(inspect.signature(base.__init__).parameters)
        config = {
            key: value
            for key, value in keras3_config.items()
            if key in parameters and not key.endswith(TRAINING_SUFFIXES)
        }
        config["dtype"] = "float32"
    nodes = [_input_tensors(node["args"]) for node in layer["inbound_nodes"]]
    return {"class_name": class_name, "config": config, "name": keras3_config["name"], "inbound_nodes": nodes}


def _input_tensors(arguments: Any) -> list[Any]:
    """Return the tensors that a layer is called on: [[layer, node, tensor, {}], ...]."""
    if isinstance(arguments, dict) and arguments.get("class_name") == "__keras_tensor__":
        return [[*arguments["config"]["keras_history"], {}]]
    if not isinstance(arguments, list | tuple):
        return []
    return [tensor for item in arguments for tensor in _input_tensors(item)]


def _as_list(tensors: list[Any]) -> list[Any]:
    """Return a list of input or output tensors: Keras 3 writes a single one without its list."""
    return [tensors] if tensors and isinstance(tensors[0], str) else tensors
