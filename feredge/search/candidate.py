"""A candidate before its training: its network is exported to int8 with random weights, and its files are measured.

Size, memory, multiply-adds, latency and instructions depend on the architecture only, so that a candidate beyond the
limits costs seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from feredge.bundles.mcu.cortex_m import CORES as MICROCONTROLLER_CORES
from feredge.errors import ArtifactError, one_line
from feredge.export.conversion import add_card
from feredge.export.exporter import LICENCE_NOTE, PACKAGE_NAMES
from feredge.export.passes import FileFormat
from feredge.export.quantizer import calibrate
from feredge.inference.artifact import Card
from feredge.inference.c_source import c_library_memory
from feredge.inference.contract import InputContract
from feredge.inspection import macs
from feredge.inspection.live_ranges import peak_activation_bytes
from feredge.keras import keras, suppressed_stderr
from feredge.recipes.schema import Recipe
from feredge.search.costs import FileCost
from feredge.train.networks import build_core

if TYPE_CHECKING:
    from feredge.keras import KerasModel

MEASURED_FILES, MICROCONTROLLER_FILES = ("int8.tflite", "int8.onnx"), ("int8.c",)
CALIBRATION_IMAGES = 8
"""Images of noise: an untrained network's ranges decide about its weights only, not about what it costs."""


def measured_files(core: str) -> tuple[str, ...]:
    """Return the files whose costs count: the C library for a microcontroller core, else those of the runtimes."""
    return MICROCONTROLLER_FILES if core in MICROCONTROLLER_CORES else MEASURED_FILES


def build_untrained(recipe: Recipe, classes: int) -> KerasModel:
    """Return the recipe's network with random weights, `float32 (N, H, W, C)` in [0, 1] to probabilities.

    Raises:
        RecipeError: images too small for its layers.
    """
    keras.utils.set_random_seed(recipe.training.seed)
    return build_core(recipe.network, size=recipe.data.size, classes=classes, channels=recipe.data.channels)


def export_untrained(
    core: KerasModel, recipe: Recipe, classes: Sequence[str], folder: Path, files: Sequence[str] = MEASURED_FILES
) -> list[Path]:
    """Write int8 files of an untrained network, with cards as long as a real export's, and return their paths.

    Raises:
        ArtifactError: a network that a converter does not take.
    """
    contract = InputContract(*core.input_shape[1:])
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (CALIBRATION_IMAGES, *contract.shape), np.uint8)
    noise[0].flat[:2] = 0, 255  # what the calibration of TFLite expects of its first image
    paths = []
    for name in files:
        kind: FileFormat = "onnx" if name.endswith(".onnx") else "tflite"  # a C library is made from the latter
        card = Card(
            "dense",
            "int8",
            tuple(classes),
            contract,
            recipe.to_json(),
            {"weights": "0" * 64, "data": "0" * 64},
            {package: version(package) for package in PACKAGE_NAMES},
            recipe.export.licence or LICENCE_NOTE,
        )
        try:
            with suppressed_stderr():  # the converters log from C++
                model = calibrate(core, noise, kind, settings=recipe.export).quantize()
        except Exception as error:  # the converters raise whatever their libraries do
            raise ArtifactError(f"{name}: conversion failed ({one_line(error)})") from error
        path = folder / f"dense.{name}"
        path.write_bytes(add_card(model, card, path.suffix, recipe.export.c_arithmetic))
        paths.append(path)
    return paths


def file_costs(paths: Sequence[Path]) -> list[FileCost]:
    """Return the costs of a candidate's files that need no run.

    The memory of a C library is its arena, its size that of its weights and tables. The others have the live-range
    bound of the TFLite graph, and their size on disk.
    """
    path = next(path for path in paths if path.suffix != ".onnx")
    counts = macs.count(path)
    multiply_adds = counts.integer + counts.floating if counts else 0
    if path.suffix == ".c":
        memory = c_library_memory(path.read_bytes())
        return [FileCost("int8.c", memory["constant_bytes"], memory["arena_bytes"], multiply_adds)]
    ram = peak_activation_bytes(path)
    return [FileCost(path.name.partition(".")[2], path.stat().st_size, ram, multiply_adds) for path in paths]
