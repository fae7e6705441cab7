"""Import of a network trained elsewhere as a run folder, for export, benchmark and report."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from feredge import data, files
from feredge.data.dataset import Dataset
from feredge.errors import ArtifactError, RecipeError
from feredge.importing.comparison import OriginalOutputs, PixelValue, compare, run_original
from feredge.inference.contract import Images
from feredge.inspection.child import run_in_child
from feredge.inspection.limits import TENSORFLOW_LIMITS
from feredge.paths import SAVED_MODEL_FILE
from feredge.recipes.schema import Compression, DataView, Export, Network, Recipe
from feredge.run import RunFolder

if TYPE_CHECKING:
    from feredge.keras import KerasModel

COMPARED_IMAGES = 64
ONNX_SUFFIX = ".onnx"


@dataclass(frozen=True)
class NetworkInput:
    """Input of an imported network.

    Attributes:
        height, width: of the images, in pixels.
        low, high: values of black and white, of all channels or of each.
    """

    height: int
    width: int
    low: PixelValue
    high: PixelValue


def import_network(
    path: Path,
    network_input: NetworkInput,
    classes: tuple[str, ...],
    dataset: Dataset,
    out: Path,
    *,
    output: str = "",
    licence: str = "",
) -> RunFolder:
    """Create the run folder `out` from a network that was trained elsewhere.

    Its outputs are compared with those of the file's own framework before anything is written. A folder that already
    holds the same network is not changed.

    Args:
        path: a Keras file or SavedModel (keras_file.py), or an ONNX file (onnx/network.py).
        network_input: its input.
        classes: of its outputs, in their order; the data's classes are put in the same order. For a single sigmoid two:
            of the probabilities 1 - p and p.
        dataset: for calibration, verification and test, of the network's input size. The core takes its channels: gray
            images are given to a network of three channels in each.
        out: the run folder.
        output: name of the output; required of a network that has several.
        licence: note for its files.

    Raises:
        ArtifactError: not a network that can be read safely, or one of another input or output.
        RecipeError: classes that do not match its outputs.
        RunError: `out` holds another run.
        VerificationError: its outputs are not those of the file's own framework.
    """
    names, channels = () if classes == dataset.classes else classes, dataset.images.shape[-1]
    view = DataView(size=network_input.height, classes=names, channels=channels)
    images = data.split(dataset, view).test.images[:COMPARED_IMAGES]
    low, high = network_input.low, network_input.high
    original, network = _open(path, images, network_input, output)
    from feredge.importing.layers import as_core
    from feredge.importing.probabilities import with_probabilities
    from feredge.importing.run_from_weights import create_run
    from feredge.train.networks import make_predict_function

    _check_shapes(network, network_input, path)
    is_onnx = path.suffix == ONNX_SUFFIX  # whose output is chosen when it is opened
    keras_output = _check_output(network, "" if is_onnx else output, path)
    try:
        core = as_core(network, size=network_input.height, low=low, high=high, channels=channels, output=keras_output)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    rows = make_predict_function(core)(images)
    comparison = compare(rows, original, path.name) | {"rebuilt": path.is_dir()}
    core = with_probabilities(core, rows, path.name)
    _check_classes(classes, core.output_shape[1], path)
    note = licence or f"Converted by feredge from {path.name}, which its makers' licence still governs."
    recipe = Recipe(
        name=re.sub(r"[^a-z0-9-]+", "-", path.stem.lower()).strip("-") or "network",
        data=view,
        network=Network(name="foreign"),
        compression=Compression(variants=("dense",)),
        export=Export(licence=note),
    )
    source = path if path.is_file() else path / SAVED_MODEL_FILE
    origin = {"file": path.name, "sha256": files.sha256(source), "input": dataclasses.asdict(network_input)}
    if output and (is_onnx or keras_output):
        origin["output"] = output
    return create_run(core, recipe, dataset, out, foreign=origin, comparison=comparison)


def input_channels(path: Path) -> int:
    """Return the number of channels of a file's input, which is opened in a child process with limits."""
    return run_in_child(_input_channels, path, limits=TENSORFLOW_LIMITS, path=path.absolute())


def _input_channels(path: str) -> int:
    if Path(path).suffix == ONNX_SUFFIX:
        from feredge.importing.onnx.file import audit_onnx, onnx_channels

        audit_onnx(Path(path))
        return onnx_channels(Path(path))
    from feredge.importing.keras_file import open_network

    shape = open_network(Path(path)).input_shape
    return int(shape[-1] or 1) if isinstance(shape, tuple) and len(shape) == 4 else 1


def _open(path: Path, images: Images, network_input: NetworkInput, output: str) -> tuple[OriginalOutputs, KerasModel]:
    """Return the outputs of a file in its own framework, and its network."""
    if path.suffix == ONNX_SUFFIX:
        from feredge.importing.onnx.network import open_onnx

        return open_onnx(path, images, network_input, output=output)
    original = run_original(path, images, low=network_input.low, high=network_input.high, output=output)
    from feredge.importing.keras_file import open_network

    return original, open_network(path)


def _check_shapes(network: KerasModel, network_input: NetworkInput, path: Path) -> None:
    """Raise ArtifactError unless a network takes one image of the given size: (N, H, W, 1 or 3), (N, H, W) or flat."""
    shape, height, width = network.input_shape, network_input.height, network_input.width
    if not isinstance(shape, tuple) or len(shape) not in (2, 3, 4) or (len(shape) == 4 and shape[-1] not in (1, 3)):
        raise ArtifactError(f"{path}: expected one input (N, H, W, 1 or 3), (N, H, W) or (N, H * W), found {shape}")
    sides = (shape[1:3], (height, width)) if len(shape) > 2 else (shape[1:], (height * width,))
    if any(side not in (None, given) for side, given in zip(*sides, strict=True)):
        found = "x".join(map(str, sides[0]))
        raise ArtifactError(f"{path}: expected the input {height}x{width} of --input-size, found {found}")


def _check_output(network: KerasModel, output: str, path: Path) -> str:
    """Return the name of a network's output that is chosen; empty for its only one.

    Raises:
        ArtifactError: several outputs and none chosen, another name, or an output that is not (N, classes).
    """
    from feredge.importing.layers import output_names

    names = output_names(network)
    if len(names) == 1 and not output:
        shapes = [network.output_shape]
    else:
        listed = network.output_shape.values() if isinstance(network.output_shape, dict) else network.output_shape
        shapes = list(listed) if len(names) > 1 else [listed]
        if output not in names:
            described = ", ".join(f"{name} {shape}" for name, shape in zip(names, shapes, strict=True))
            raise ArtifactError(
                f"{path}: expected one of its outputs as --output, {described}, found {output or 'none'}"
            )
    shape = shapes[names.index(output)] if output else shapes[0]
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise ArtifactError(f"{path}: expected the output (N, classes), found {shape}")
    return output if len(names) > 1 else ""


def _check_classes(classes: tuple[str, ...], outputs: int, path: Path) -> None:
    if len(classes) != outputs or len(set(classes)) != len(classes) or not all(classes):
        raise RecipeError(
            f"--classes: expected {outputs} different names, one for each output of {path.name}, "
            f"found {', '.join(classes)}"
        )
