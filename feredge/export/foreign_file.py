"""Reading a Keras file that someone else wrote, without running anything that is in it.

Lambda layers hold Python bytecode, and custom layers name code to import, so a file's own description is looked at
before Keras sees it: every layer must be one of Keras's, and none a Lambda.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feredge.errors import ArtifactError, one_line
from feredge.export.keras3 import is_keras3, open_keras3
from feredge.keras import keras

REFUSED = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
"""Layers of Keras that run what a file brings."""
MODELS = ("Model", "Functional", "Sequential")


def open_network(path: Path) -> Any:
    """Return the network in a `.h5`, `.hdf5` or `.keras` file, or in the folder of a SavedModel, not compiled.

    Raises:
        ArtifactError: missing, damaged or of another kind; Lambda layers or custom objects, which are never run.
    """
    if not path.exists():
        raise ArtifactError(f"{path}: expected a Keras file, found none")
    try:
        described = _description(path)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"{path}: expected a Keras model, cannot be read as one ({one_line(error, 120)})"
        ) from error
    for layer in described:
        _check(layer, path)
    try:
        return open_keras3(path) if is_keras3(described) else keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever its readers raise
        raise ArtifactError(f"{path}: Keras cannot read it ({one_line(error, 120)})") from error


def _description(path: Path) -> list[Any]:
    """Return what a file says of its network, as plain values."""
    if path.is_dir():
        return _saved_model(path)
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return [json.loads(archive.read("config.json"))]
    if path.suffix not in (".h5", ".hdf5"):
        raise ValueError(
            f"expected .h5, .hdf5, .keras or the folder of a SavedModel, found {path.suffix or 'no suffix'}"
        )
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise ValueError("a file of weights only, without the network")
        text = file.attrs["model_config"]
        return [json.loads(text.decode() if isinstance(text, bytes) else text)]


def _saved_model(folder: Path) -> list[Any]:
    """Return the descriptions of the Keras layers in a SavedModel."""
    if not (folder / "saved_model.pb").is_file():
        raise ValueError("a folder without saved_model.pb")
    metadata = folder / "keras_metadata.pb"
    if not metadata.is_file():
        raise ValueError("a SavedModel without its Keras layers; save the network as .keras or .h5")
    from tf_keras.protobuf.saved_metadata_pb2 import SavedMetadata  # noqa: TID251 - reads, runs nothing

    nodes = SavedMetadata.FromString(metadata.read_bytes()).nodes
    return [json.loads(node.metadata) for node in nodes if node.identifier in ("_tf_keras_layer", "_tf_keras_model")]


def _check(described: Any, path: Path) -> None:
    for config in _objects(described):
        name = str(config["class_name"])
        plain = name.rpartition(">")[2]
        if plain in REFUSED:
            raise ArtifactError(f"{path}: holds a {plain} layer, whose code is not run; expected Keras's own layers")
        known = plain in MODELS or hasattr(keras.layers, plain)
        own = str(config.get("module") or "keras").partition(".")[0] in ("keras", "tf_keras", "tensorflow", "builtins")
        registered = config.get("registered_name")
        if ">" in name or not known or not own or (registered and ">" in str(registered)):
            raise ArtifactError(
                f"{path}: holds the custom object {name!r}, which is not run; expected Keras's own layers"
            )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every description of a layer or model inside `value`."""
    if isinstance(value, dict):
        inner = value.get("config")
        if "class_name" in value and isinstance(inner, dict | list) and _is_layer(value):
            yield value
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _is_layer(value: dict[str, Any]) -> bool:
    """Tell layers from initializers and the like, which Keras looks up by name among its own and calls no code of."""
    name = str(value["class_name"])
    others = (keras.initializers, keras.regularizers, keras.constraints, keras.mixed_precision)
    return not any(hasattr(place, name) for place in others) and name not in (
        "DTypePolicy",
        "Policy",
        "__tuple__",
        "__keras_tensor__",
    )
