"""A network read back from what was exported of it, to be exported again: in other precisions, on other images.

The float32 file's kernels hold their batch normalizations. A network that is read back has none, so its own float32
file holds the same numbers, and what is exported of one and of the other is the same, byte for byte.
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
from feredge.inference.artifact import Entry, Manifest, read_card
from feredge.paths import ExportPath, RunPath, require
from feredge.recipes.schema import Recipe
from feredge.run import RunFolder

if TYPE_CHECKING:
    from feredge.train.warm_start import Trained

SOURCE = "dense.float32.onnx"
"""The file that weights are read from. Its tensors are named after the layers: see `to_onnx.core_graph`."""
STORED = {
    "Conv2D": (("Conv/1", (2, 3, 1, 0)), ("Conv/2", (0,))),
    "DepthwiseConv2D": (("Conv/1", (2, 3, 0, 1)),),
    "Dense": (("MatMul/1", (0, 1)), ("Add/1", (0,))),
}
"""How the names of a layer's weights end in ONNX, and their axes there, in Keras's order."""


def recipe_of(folder: Path) -> Recipe:
    """Return the recipe in the card of a folder's SOURCE, with no variants: how to make those is not in the file.

    Raises:
        ArtifactError: a folder without it, damaged, or of a network that was not trained here.
    """
    table = {**_source(folder).card.recipe}
    if "foreign" in table:
        raise ArtifactError(f"{folder}: expected a network trained here, found one from {table['foreign']['file']}")
    try:
        recipe: Recipe = dataclass_io.read(Recipe, table, SOURCE)
        recipes.check(recipe, SOURCE)
    except RecipeError as error:
        raise ArtifactError(f"{folder}: {error} in its card") from error
    return dataclasses.replace(recipe, compression=dataclasses.replace(recipe.compression, variants=("dense",)))


def reopen(folder: Path, dataset: Dataset, out: Path, *, recipe: Recipe | None = None) -> RunFolder:
    """Make the run folder `out` of the network whose exported files stand in `folder`.

    Args:
        folder: holds SOURCE, and a manifest that fits.
        dataset: to calibrate on, to verify on and to test on.
        out: the folder; one that holds the same network already is left as it is.
        recipe: `recipe_of(folder)`, perhaps with other settings for the export.

    Raises:
        ArtifactError: see `recipe_of`; or a layer whose weights are not in the file.
        RecipeError: data without the network's classes.
        RunError: `out` belongs to something else.
    """
    from feredge.importing.run_from_weights import settle

    source, recipe = _source(folder), recipe or recipe_of(folder)
    names = tuple(recipe.data.groups or dataset.classes)
    if names != source.card.classes:
        raise RecipeError(f"{folder}: expected data of {', '.join(source.card.classes)}, found {', '.join(names)}")
    core = _read_back(folder, recipe, classes=len(names))
    read_from = {"file": SOURCE, "sha256": source.sha256}
    return settle(core, recipe, dataset, out, read_from=read_from, data=source.card.source["data"])


def trained(place: Path) -> Trained:
    """Return a trained network for another training to start from, or to learn from.

    Args:
        place: a run folder, a folder of exported files, or the name of a reference model.

    Raises:
        ArtifactError: see `reopen`.
        RunError: no trained run.
    """
    known = require(place, RunPath, ExportPath)
    run = RunFolder.open(known.path, trained=True) if isinstance(known, RunPath) else None
    from feredge.compress.batch_norms import fold_norms  # late: what is not there is told before TensorFlow opens
    from feredge.train.networks import weights_digest
    from feredge.train.record import load_model
    from feredge.train.warm_start import Trained

    if run is None:
        classes = _source(known.path).card.classes
        core = _read_back(known.path, recipe_of(known.path), classes=len(classes))
    else:
        core, classes = fold_norms(load_model(run).get_layer("core")), tuple(run.data()["classes"])
    return Trained(core, classes, weights_digest(core))


def _read_back(folder: Path, recipe: Recipe, *, classes: int) -> Any:
    """Return the core in SOURCE, without batch normalizations."""
    from feredge.compress.batch_norms import fold_norms
    from feredge.train.networks import build_core

    core = fold_norms(build_core(recipe.network, size=recipe.data.size, classes=classes))
    tensors = _tensors(folder / SOURCE)
    for layer in core.layers:
        if layer.weights:
            layer.set_weights(_weights(layer, tensors))
    return core


def _source(folder: Path) -> Entry:
    found = next((entry for entry in Manifest.read(folder).entries if entry.file == SOURCE), None)
    if found is None:
        raise ArtifactError(f"{folder}: expected {SOURCE} among its files, found none")
    return found


def _tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    import onnx

    read_card(path)  # refuses weights in other files, which onnx would follow
    graph = onnx.load(path).graph
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _weights(layer: Any, tensors: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return the weights of `layer`, as Keras has them."""
    found = []
    for weight, (end, axes) in zip(layer.weights, STORED[type(layer).__name__], strict=True):
        values = tensors.get(f"{layer.name}/{end}")
        if values is None or values.ndim != len(axes) or values.transpose(axes).shape != tuple(weight.shape):
            raise ArtifactError(f"expected {weight.name} in {SOURCE}, found none of its shape")
        found.append(values.transpose(axes))
    return found
