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
from feredge.train.auto import is_of_faces

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
    view = DataView(size=network_input.height, classes=names, channels=channels, faces=is_of_faces(classes))
    images = data.split(dataset, view).test.images[:COMPARED_IMAGES]
    low, high = network_input.low, network_input.high
    original, network = _open(path, images, network_input, output)
    from feredge.importing.layers import as_core
    from feredge.importing.probabilities import with_probabilities
    from feredge.importing.run_from_weights import create_run
    from feredge.importing.signature import check_input, choose_output
    from feredge.train.networks import make_predict_function

    check_input(network, network_input.height, network_input.width, path)
    is_onnx = path.suffix == ONNX_SUFFIX  # whose output is chosen when it is opened
    keras_output = choose_output(network, "" if is_onnx else output, path)
    try:
        core = as_core(network, size=network_input.height, low=low, high=high, channels=channels, output=keras_output)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    rows = make_predict_function(core)(images)
    comparison = compare(rows, original, path.name) | {"rebuilt": path.is_dir()}
    core = with_probabilities(core, rows, path.name)
    check_classes(classes, core.output_shape[1], path)
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


def check_classes(classes: tuple[str, ...], outputs: int, path: Path) -> None:
    """Raise RecipeError unless there is a name for each of a file's outputs."""
    if len(classes) != outputs or len(set(classes)) != len(classes) or not all(classes):
        raise RecipeError(
            f"--classes: expected {outputs} different names, one for each output of {path.name}, "
            f"found {', '.join(classes)}"
        )
