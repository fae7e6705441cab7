"""What `export` opens: a run, a folder of exported files, or a network from elsewhere."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feredge.api.datasets import load_dataset
from feredge.api.pixel_range import PixelRange, black_and_white
from feredge.errors import ArtifactError, RecipeError
from feredge.paths import ExportPath, ForeignNetwork, ModelFile, RunPath, require
from feredge.run import RunFolder

if TYPE_CHECKING:
    from feredge.api.datasets import DataSource
    from feredge.data import Dataset
    from feredge.importing.network import NetworkInput

logger = logging.getLogger(__name__)
KerasModel = Any
"""A model object of Keras 2 or 3."""
PICKLED_WEIGHTS = (
    "weights of PyTorch, which are not opened because unpickling them can run code; write an ONNX file with "
    "feredge.from_torch(module, example)"
)
CONVERTED_FILE = "a file that was converted already; export the network that it was converted from"
UNOPENED_SUFFIXES = {
    **dict.fromkeys((".pt", ".pth", ".pt2", ".ckpt", ".pkl", ".bin"), PICKLED_WEIGHTS),
    ".safetensors": "weights without a network; write an ONNX file with feredge.from_torch(module, example)",
    **dict.fromkeys((".tflite", ".ort"), CONVERTED_FILE),
}
"""By suffix, why a file is refused."""
INPUT_SIZES = (8, 512)  # pixels per side, smallest and largest


@dataclass(frozen=True)
class InputSpec:
    """Input and output of an imported network.

    Attributes:
        size: height and width in pixels.
        range: input values of black and white pixels, or mean and standard deviation: see PixelRange.
        classes: class names, in the order of its outputs.
        output: name of its output, if it has several.
    """

    size: int | tuple[int, int] | None = None
    range: PixelRange | None = None
    classes: tuple[str, ...] = ()
    output: str = ""

    def __bool__(self) -> bool:
        """Return whether anything is specified."""
        return self != InputSpec()


def open_run(
    network: str | PathLike[str] | KerasModel,
    data: DataSource | None,
    spec: InputSpec,
    licence: str | None,
    out: Path | None,
) -> RunFolder:
    if not isinstance(network, str | PathLike):
        with _saved(network) as path:
            return _import_network(path, data, spec, licence, out)
    _refuse_unopened(Path(network))
    place = require(network, RunPath, ExportPath, ForeignNetwork, ModelFile)
    if isinstance(place, ForeignNetwork | ModelFile):
        return _import_network(place.path, data, spec, licence, out)
    if spec:
        raise RecipeError(
            f"--input-size, --input-range, --classes and --output are for a network trained elsewhere, "
            f"found {place.description} ({place.path})"
        )
    if isinstance(place, ExportPath):
        return _read_back(place.path, data, out)
    if out is not None:
        raise RecipeError(f"--out is for networks that are not in a run folder, found the run folder {place.path}")
    return RunFolder.open(place.path, trained=True)


def _refuse_unopened(path: Path) -> None:
    """Raise ArtifactError, without opening it, for a file that no network can be imported from."""
    reason = UNOPENED_SUFFIXES.get(path.suffix)
    if reason is not None and path.is_file():
        raise ArtifactError(f"{path}: expected a Keras or ONNX file, found {reason}")


@contextmanager
def _saved(model: KerasModel) -> Iterator[Path]:
    """Yield a temporary file of a Keras model object.

    Raises:
        RecipeError: another kind of object.
    """
    if not (callable(getattr(model, "save", None)) and hasattr(model, "get_config")):
        raise RecipeError(f"expected a path, a name or a Keras model, found {type(model).__name__}")
    with tempfile.TemporaryDirectory() as folder:
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", getattr(model, "name", "") or "network")
        path = Path(folder, f"{name}.keras")
        model.save(path)
        yield path


def _read_back(folder: Path, data: DataSource | None, out: Path | None) -> RunFolder:
    from feredge.importing.from_onnx import import_exported, read_recipe

    recipe = read_recipe(folder)
    if data is None:
        raise RecipeError(f"{folder}: a folder of exported files requires --data")
    dataset = load_dataset(data, size=recipe.data.size, channels=recipe.data.channels)
    return import_exported(folder, dataset, out or Path("runs") / folder.name, recipe=recipe)


def _import_network(
    path: Path, data: DataSource | None, spec: InputSpec, licence: str | None, out: Path | None
) -> RunFolder:
    from feredge.importing.network import import_network

    network_input, dataset = network_data(path, data, spec)
    out = out or Path("runs") / path.stem
    return import_network(path, network_input, spec.classes, dataset, out, output=spec.output, licence=licence or "")


def network_data(path: Path, data: DataSource | None, spec: InputSpec) -> tuple[NetworkInput, Dataset]:
    """Return the input of a network from elsewhere, and the data at its size: in colour if both have it.

    Raises:
        RecipeError: an option is missing or out of range.
    """
    options = {
        "--input-size": spec.size,
        "--input-range": spec.range,
        "--classes": spec.classes or None,
        "--data": data,
    }
    for option, value in options.items():
        if value is None:
            raise RecipeError(f"{path.name}: a network trained elsewhere requires {option}")
    assert spec.size is not None and spec.range is not None and data is not None
    height, width = (spec.size, spec.size) if isinstance(spec.size, int) else spec.size
    low, high = black_and_white(spec.range)
    if height != width or not INPUT_SIZES[0] <= height <= INPUT_SIZES[1]:
        raise RecipeError(
            f"--input-size: expected a square of {INPUT_SIZES[0]} to {INPUT_SIZES[1]} pixels, found {height}x{width}"
        )
    from feredge.importing.network import NetworkInput

    return NetworkInput(height, width, low, high), _load_for(path, data, height)


def _load_for(path: Path, data: DataSource, size: int) -> Dataset:
    """Return the data for an imported network: in colour if both the pictures and its input are."""
    from feredge.data import color_note
    from feredge.importing.network import input_channels

    dataset = load_dataset(data, size=size)
    if note := color_note(dataset.pictures, dataset.images.shape[-1]):
        if input_channels(path) == 3:
            return load_dataset(data, size=size, channels=3)
        logger.warning("%s", note)
    return dataset
