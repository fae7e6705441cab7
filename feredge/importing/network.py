"""A network that was not trained here, as a run that export, bench and report take like any other."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feredge import data, files
from feredge.data.dataset import Dataset
from feredge.errors import ArtifactError, RecipeError
from feredge.inference.contract import Images
from feredge.inspection.child import run
from feredge.inspection.limits import TENSORFLOW
from feredge.recipes.schema import Compression, DataView, Export, Network, Recipe
from feredge.run import RunFolder

CHECKED = 64  # images on which the answers are looked at


@dataclass(frozen=True)
class Input:
    """What a foreign network takes: its size, and what black and white are to it."""

    height: int
    width: int
    low: float
    high: float


def take_in(
    path: Path, given: Input, classes: tuple[str, ...], dataset: Dataset, out: Path, *, licence: str = ""
) -> RunFolder:
    """Make the run folder `out` of a foreign network: its float model in the input contract, and its test figures.

    A folder that is the same network's already is left as it is.

    Args:
        path: the file; see foreign_file.py.
        given: what it takes.
        classes: what it answers, in its outputs' order; the data's classes are put in the same order.
        dataset: to calibrate on, to verify on and to test on, of the network's size.
        out: the folder.
        licence: note for its files.

    Raises:
        ArtifactError: not a Keras network that can be read safely, or one that takes or answers something else.
        RecipeError: classes that do not match its outputs.
        RunError: `out` belongs to something else.
    """
    from feredge.importing.keras_file import open_network
    from feredge.importing.layers import as_core
    from feredge.importing.run_from_weights import settle

    run(_try_open, path, limits=TENSORFLOW, path=path)
    network = open_network(path)
    _check_shapes(network, given, classes, path)
    core = as_core(network, size=given.height, low=given.low, high=given.high)
    view = DataView(size=given.height, classes=() if classes == dataset.classes else classes)
    note = licence or f"Converted by feredge from {path.name}, which its makers' licence still governs."
    recipe = Recipe(
        name=re.sub(r"[^a-z0-9-]+", "-", path.stem.lower()).strip("-") or "network",
        data=view,
        network=Network(name="foreign"),
        compression=Compression(variants=("dense",)),
        export=Export(licence=note),
    )
    core = _with_probabilities(core, data.split(dataset, view).test.images[:CHECKED])
    source = path if path.is_file() else path / "saved_model.pb"
    origin = {"file": path.name, "sha256": files.sha256(source), "input": dataclasses.asdict(given)}
    return settle(core, recipe, dataset, out, foreign=origin)


def _try_open(path: str) -> None:
    """Open a file in a child process: what crashes or hangs its readers does it there."""
    from feredge.importing.keras_file import open_network

    open_network(Path(path))


def _check_shapes(network: Any, given: Input, classes: tuple[str, ...], path: Path) -> None:
    takes, gives = network.input_shape, network.output_shape
    if not isinstance(takes, tuple) or len(takes) != 4 or takes[-1] not in (1, 3):
        raise ArtifactError(f"{path}: expected one input (N, H, W, 1 or 3), found {takes}")
    if any(side not in (None, asked) for side, asked in zip(takes[1:3], (given.height, given.width), strict=True)):
        raise ArtifactError(
            f"{path}: expected an input of {given.height}x{given.width} as --input-size says, "
            f"found {takes[1]}x{takes[2]}"
        )
    if not isinstance(gives, tuple) or len(gives) != 2:
        raise ArtifactError(f"{path}: expected one output (N, classes), found {gives}")
    if len(classes) != gives[1] or len(set(classes)) != len(classes) or not all(classes):
        raise RecipeError(
            f"--classes: expected {gives[1]} different names, as {path.name} answers, found {', '.join(classes)}"
        )


def _with_probabilities(core: Any, images: Images) -> Any:
    """Return `core`, with a softmax behind it where its answers are no probabilities."""
    from feredge.keras import keras
    from feredge.train.networks import compiled

    rows = compiled(core)(images)
    if len(rows) and rows.min() >= 0 and float(np.abs(rows.sum(axis=1) - 1).max()) < 1e-3:  # float32 sums
        return core
    return keras.Model(core.input, keras.layers.Softmax(name="probabilities")(core.output), name="core")
