"""Rebuilding a SavedModel from its Keras configuration and weights: its graph is neither loaded nor run."""
# ruff: noqa: TID251 - protocol buffers, which are only parsed

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from feredge.importing.audit import CONFIG_BYTES, audit_config, parse_config
from feredge.importing.containers import WEIGHTS_BYTES
from feredge.keras import KerasModel, keras, tf

GRAPH_BYTES = 256 << 20
MODEL_IDENTIFIERS = ("_tf_keras_model", "_tf_keras_network", "_tf_keras_sequential")


def rebuild_saved_model(folder: Path) -> KerasModel:
    """Return the Keras 2 network of a SavedModel, not compiled, without loading its graph.

    Raises:
        ValueError: symbolic links, no Keras configuration, or weights that do not match it.
        ArtifactError: names in the configuration that are not on the allowlist.
    """
    links = [item for item in (folder, *folder.rglob("*")) if item.is_symlink()]
    if links:
        raise ValueError(f"expected a folder without symbolic links, found {links[0].name}")
    metadata = parse_config(_root_metadata(folder))
    if not isinstance(metadata, dict):
        raise ValueError("a SavedModel whose Keras configuration is damaged")
    # its signatures and losses are not loaded
    config = audit_config({key: metadata.get(key) for key in ("class_name", "config")}, folder)
    prefix = str(folder / "variables" / "variables")
    _check_checkpoint(folder)
    network = keras.models.model_from_config(_with_tuples(config))
    # by the object graph of the checkpoint, into the existing variables
    status = tf.train.Checkpoint(root=network).read(prefix)
    status.assert_existing_objects_matched().expect_partial()
    for layer in network._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # computes its constants from the weights
    return network


def _with_tuples(value: Any) -> Any:
    """Return `value` with tuples in place of `{"class_name": "__tuple__", "items": [...]}`."""
    if isinstance(value, dict):
        if value.get("class_name") == "__tuple__" and isinstance(value.get("items"), list):
            return tuple(_with_tuples(item) for item in value["items"])
        return {key: _with_tuples(item) for key, item in value.items()}
    return [_with_tuples(item) for item in value] if isinstance(value, list) else value


def _root_metadata(folder: Path) -> str:
    """Return the JSON configuration of the whole network, which is in a separate file since TensorFlow 2.5."""
    metadata = folder / "keras_metadata.pb"
    if metadata.is_file():
        from tf_keras.protobuf.saved_metadata_pb2 import SavedMetadata

        nodes = SavedMetadata.FromString(_read_bounded(metadata, 4 * CONFIG_BYTES)).nodes
        roots = [node for node in nodes if node.node_path == "root"]
    else:
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

        graphs = SavedModel.FromString(_read_bounded(folder / "saved_model.pb", GRAPH_BYTES)).meta_graphs
        roots = [graph.object_graph_def.nodes[0].user_object for graph in graphs if graph.object_graph_def.nodes]
    models = [node.metadata for node in roots if node.identifier in MODEL_IDENTIFIERS and node.metadata]
    if not models:
        raise ValueError("a SavedModel without its Keras layers; save the network as .keras or .h5")
    return str(models[0])


def _check_checkpoint(folder: Path) -> None:
    if not (folder / "variables" / "variables.index").is_file():
        raise ValueError("a SavedModel without its variables")
    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    types = reader.get_variable_to_dtype_map()
    size = sum(math.prod(shape) * types[name].size for name, shape in reader.get_variable_to_shape_map().items())
    if size > WEIGHTS_BYTES:
        raise ValueError(f"expected at most {WEIGHTS_BYTES} bytes of weights, found {size}")


def _read_bounded(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"expected at most {limit} bytes of {path.name}, found more")
    return content
