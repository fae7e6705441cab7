"""Import of a network from its exported float32 ONNX file, to export it again with other settings or data.

Batch normalizations are folded into the kernels of that file. An imported network has none, and its own float32 file
holds the same numbers; so all its exports are byte-identical to those of the original network.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import feredge.recipes as recipes
from feredge import dataclass_io
from feredge.data.dataset import Dataset
from feredge.errors import ArtifactError, RecipeError
from feredge.inference.artifact import Entry, Manifest
from feredge.inference.embedded_card import read_card
from feredge.paths import ExportPath, RunPath, require
from feredge.recipes.schema import Recipe
from feredge.run import RunFolder

if TYPE_CHECKING:
    from feredge.keras import KerasModel
    from feredge.train.warm_start import TrainedNetwork

SOURCE_FILE = "dense.float32.onnx"
"""The file that weights are read from. Its tensors are named after the layers: see `core_graph`."""
ONNX_WEIGHTS = {
    "Conv2D": (("Conv/1", (2, 3, 1, 0)), ("Conv/2", (0,))),
    "DepthwiseConv2D": (("Conv/1", (2, 3, 0, 1)),),
    "Dense": (("MatMul/1", (0, 1)), ("Add/1", (0,))),
}
"""Suffixes of the ONNX names of a layer's weights, and the transposition of each to Keras's axes."""


def read_recipe(folder: Path) -> Recipe:
    """Return the recipe in the card of a folder's SOURCE_FILE, with the dense variant only.

    Raises:
        ArtifactError: the file is missing or damaged, or the network was not trained by feredge.
    """
    table = {**_source_entry(folder).card.recipe}
    if "foreign" in table:
        raise ArtifactError(
            f"{folder}: expected a network trained by feredge, found one imported from {table['foreign']['file']}"
        )
    try:
        recipe: Recipe = dataclass_io.read(Recipe, table, SOURCE_FILE)
        recipes.check(recipe, SOURCE_FILE)
    except RecipeError as error:
        raise ArtifactError(f"{folder}: {error} in its card") from error
    if recipe.network.name == "custom":  # a file may not name code that runs
        raise ArtifactError(
            f"{folder}: expected a network of feredge's own, found one of {recipe.network.builder}; export its run"
        )
    return dataclasses.replace(recipe, compression=dataclasses.replace(recipe.compression, variants=("dense",)))


def import_exported(folder: Path, dataset: Dataset, out: Path, *, recipe: Recipe | None = None) -> RunFolder:
    """Create the run folder `out` from a folder of exported files.

    Args:
        folder: holds SOURCE_FILE and its manifest.
        dataset: for calibration, verification and test.
        out: the run folder; one that already holds the same network is not changed.
        recipe: `read_recipe(folder)`, perhaps with other settings for the export.

    Raises:
        ArtifactError: see `read_recipe`; or a layer whose weights are not in the file.
        RecipeError: data without the network's classes.
        RunError: `out` holds another run.
    """
    from feredge.importing.run_from_weights import create_run

    source, recipe = _source_entry(folder), recipe or read_recipe(folder)
    names = tuple(recipe.data.groups or dataset.classes)
    if names != source.card.classes:
        raise RecipeError(f"{folder}: expected data of {', '.join(source.card.classes)}, found {', '.join(names)}")
    core = _read_core(folder, recipe, classes=len(names))
    read_from = {"file": SOURCE_FILE, "sha256": source.sha256}
    return create_run(core, recipe, dataset, out, read_from=read_from, data=source.card.source["data"])


def load_trained(path: Path) -> TrainedNetwork:
    """Return a trained network, for a warm start or as a teacher.

    Args:
        path: a run folder, a folder of exported files, or the name of a reference model.

    Raises:
        ArtifactError: see `import_exported`.
        RunError: no trained run.
    """
    known = require(path, RunPath, ExportPath)
    run = RunFolder.open(known.path, trained=True) if isinstance(known, RunPath) else None
    from feredge.compress.batch_norms import (
        fold_batchnorms,  # late: a missing run is reported before TensorFlow is imported
    )
    from feredge.train.networks import weights_digest
    from feredge.train.record import load_model
    from feredge.train.warm_start import TrainedNetwork

    if run is None:
        classes = _source_entry(known.path).card.classes
        core = _read_core(known.path, read_recipe(known.path), classes=len(classes))
    else:
        core, classes = fold_batchnorms(load_model(run).get_layer("core")), tuple(run.data()["classes"])
    return TrainedNetwork(core, classes, weights_digest(core))


def _read_core(folder: Path, recipe: Recipe, *, classes: int) -> KerasModel:
    """Return the core in SOURCE_FILE, without batch normalizations."""
    from feredge.compress.batch_norms import fold_batchnorms
    from feredge.train.networks import build_core

    view = recipe.data
    core = fold_batchnorms(build_core(recipe.network, size=view.size, classes=classes, channels=view.channels))
    tensors = _read_tensors(folder / SOURCE_FILE)
    for layer in core.layers:
        if layer.weights:
            layer.set_weights(_layer_weights(layer, tensors))
    return core


def _source_entry(folder: Path) -> Entry:
    entry = next((entry for entry in Manifest.read(folder).entries if entry.file == SOURCE_FILE), None)
    if entry is None:
        raise ArtifactError(f"{folder}: expected {SOURCE_FILE} among its files, found none")
    return entry


def _read_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    import onnx

    read_card(path)  # refuses external data, which onnx.load would read
    graph = onnx.load(path).graph
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _layer_weights(layer: Any, tensors: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return the weights of `layer` in Keras's order and axes."""
    arrays = []
    for weight, (suffix, axes) in zip(layer.weights, ONNX_WEIGHTS[type(layer).__name__], strict=True):
        values = tensors.get(f"{layer.name}/{suffix}")
        if values is None or values.ndim != len(axes) or values.transpose(axes).shape != tuple(weight.shape):
            raise ArtifactError(f"expected {weight.name} in {SOURCE_FILE}, found none of its shape")
        arrays.append(values.transpose(axes))
    return arrays
