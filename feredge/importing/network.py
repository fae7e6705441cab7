"""Import of a network trained elsewhere as a run folder, for export, benchmark and report."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from feredge import data, files
from feredge.data.dataset import Dataset
from feredge.errors import ArtifactError, RecipeError, VerificationError
from feredge.inference.contract import Images
from feredge.inspection.child import run_in_child
from feredge.inspection.limits import TENSORFLOW_LIMITS
from feredge.recipes.schema import Compression, DataView, Export, Network, Recipe
from feredge.run import RunFolder

if TYPE_CHECKING:
    from feredge.keras import KerasModel

ORIGINAL_TOLERANCES = {"float32": 1e-3, "float16": 0.05}
"""Bounds on the difference from a file's own outputs, relative to the largest, by the precision that it computes in."""
PROBED_IMAGES = 64  # to tell probabilities from logits


@dataclass(frozen=True)
class NetworkInput:
    """Input of an imported network.

    Attributes:
        height, width: of the images, in pixels.
        low, high: values of black and white, of all channels or of each.
    """

    height: int
    width: int
    low: float | tuple[float, ...]
    high: float | tuple[float, ...]


def import_network(
    path: Path, network_input: NetworkInput, classes: tuple[str, ...], dataset: Dataset, out: Path, *, licence: str = ""
) -> RunFolder:
    """Create the run folder `out` from a network that was trained elsewhere.

    A folder that already holds the same network is not changed.

    Args:
        path: a Keras file, see keras_file.py, or an ONNX file, see onnx/network.py.
        network_input: its input.
        classes: of its outputs, in their order; the data's classes are put in the same order.
        dataset: for calibration, verification and test, of the network's input size.
        out: the run folder.
        licence: note for its files.

    Raises:
        ArtifactError: not a network that can be read safely, or one of another input or output.
        RecipeError: classes that do not match its outputs.
        RunError: `out` holds another run.
    """
    from feredge.importing.layers import as_core
    from feredge.importing.run_from_weights import create_run

    network = _open(path, network_input)
    _check_shapes(network, network_input, classes, path)
    core = as_core(network, size=network_input.height, low=network_input.low, high=network_input.high)
    view = DataView(size=network_input.height, classes=() if classes == dataset.classes else classes)
    note = licence or f"Converted by feredge from {path.name}, which its makers' licence still governs."
    recipe = Recipe(
        name=re.sub(r"[^a-z0-9-]+", "-", path.stem.lower()).strip("-") or "network",
        data=view,
        network=Network(name="foreign"),
        compression=Compression(variants=("dense",)),
        export=Export(licence=note),
    )
    images = data.split(dataset, view).test.images[:PROBED_IMAGES]
    if path.suffix == ".onnx":
        _compare_with_original(core, images, network_input, path)
    core = _with_probabilities(core, images)
    source = path if path.is_file() else path / "saved_model.pb"
    origin = {"file": path.name, "sha256": files.sha256(source), "input": dataclasses.asdict(network_input)}
    return create_run(core, recipe, dataset, out, foreign=origin)


def _open(path: Path, network_input: NetworkInput) -> KerasModel:
    if path.suffix == ".onnx":
        from feredge.importing.onnx.network import open_onnx

        return open_onnx(path, height=network_input.height, width=network_input.width)
    from feredge.importing.keras_file import open_network

    run_in_child(_try_open, path, limits=TENSORFLOW_LIMITS, path=path)
    return open_network(path)


def _try_open(path: str) -> None:
    """Open a file, in a child process, so that a crash or endless loop of its readers stays there."""
    from feredge.importing.keras_file import open_network

    open_network(Path(path))


def _check_shapes(network: KerasModel, network_input: NetworkInput, classes: tuple[str, ...], path: Path) -> None:
    input_shape, output_shape = network.input_shape, network.output_shape
    if not isinstance(input_shape, tuple) or len(input_shape) != 4 or input_shape[-1] not in (1, 3):
        raise ArtifactError(f"{path}: expected one input (N, H, W, 1 or 3), found {input_shape}")
    _, height, width, _ = input_shape
    if height not in (None, network_input.height) or width not in (None, network_input.width):
        raise ArtifactError(
            f"{path}: expected the input {network_input.height}x{network_input.width} of --input-size, "
            f"found {height}x{width}"
        )
    if not isinstance(output_shape, tuple) or len(output_shape) != 2:
        raise ArtifactError(f"{path}: expected one output (N, classes), found {output_shape}")
    if len(classes) != output_shape[1] or len(set(classes)) != len(classes) or not all(classes):
        raise RecipeError(
            f"--classes: expected {output_shape[1]} different names, one for each output of {path.name}, "
            f"found {', '.join(classes)}"
        )


def _compare_with_original(core: KerasModel, images: Images, network_input: NetworkInput, path: Path) -> None:
    """Raise VerificationError unless `core` has the outputs of the file in onnxruntime."""
    from feredge.importing.onnx.original import run_original
    from feredge.train.networks import make_predict_function

    original = run_original(path, images, low=network_input.low, high=network_input.high)
    rows, expected = make_predict_function(core)(images), np.asarray(original["rows"], np.float32)
    difference = float(np.abs(rows - expected).max()) / max(1.0, float(np.abs(expected).max()))
    tolerance = ORIGINAL_TOLERANCES[original["precision"]]
    if not difference <= tolerance:  # unlike `>`, this refuses NaN
        raise VerificationError(
            f"{path}: expected the outputs of onnxruntime within {tolerance:g}, "
            f"found a difference of {difference:.3g} after the import"
        )


def _with_probabilities(core: KerasModel, images: Images) -> KerasModel:
    """Return `core`, with a softmax appended if its outputs are logits."""
    from feredge.keras import keras
    from feredge.train.networks import make_predict_function

    rows = make_predict_function(core)(images)
    if len(rows) and rows.min() >= 0 and float(np.abs(rows.sum(axis=1) - 1).max()) < 1e-3:  # float32 sums
        return core
    return keras.Model(core.input, keras.layers.Softmax(name="probabilities")(core.output), name="core")
