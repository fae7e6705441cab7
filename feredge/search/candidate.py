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

from feredge.errors import ArtifactError, one_line
from feredge.export.conversion import add_card
from feredge.export.exporter import LICENCE_NOTE, PACKAGE_NAMES
from feredge.export.quantizer import calibrate
from feredge.inference.artifact import Card
from feredge.inference.contract import InputContract
from feredge.inspection import macs
from feredge.inspection.live_ranges import peak_activation_bytes
from feredge.keras import keras, suppressed_stderr
from feredge.recipes.schema import Recipe
from feredge.search.costs import FileCost
from feredge.train.networks import build_core

if TYPE_CHECKING:
    from feredge.keras import KerasModel

MEASURED_FILES = ("int8.tflite", "int8.onnx")
CALIBRATION_IMAGES = 8
"""Images of noise: an untrained network's ranges decide about its weights only, not about what it costs."""


def build_untrained(recipe: Recipe, classes: int) -> KerasModel:
    """Return the recipe's network with random weights, `float32 (N, H, W, C)` in [0, 1] to probabilities.

    Raises:
        RecipeError: images too small for its layers.
    """
    keras.utils.set_random_seed(recipe.training.seed)
    return build_core(recipe.network, size=recipe.data.size, classes=classes, channels=recipe.data.channels)


def export_untrained(core: KerasModel, recipe: Recipe, classes: Sequence[str], folder: Path) -> list[Path]:
    """Write MEASURED_FILES of an untrained network, with cards as long as a real export's, and return their paths.

    Raises:
        ArtifactError: a network that a converter does not take.
    """
    contract = InputContract(*core.input_shape[1:])
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (CALIBRATION_IMAGES, *contract.shape), np.uint8)
    noise[0].flat[:2] = 0, 255  # what the calibration of TFLite expects of its first image
    paths = []
    for name in MEASURED_FILES:
        kind = name.rpartition(".")[2]
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
                model = calibrate(core, noise, kind, settings=recipe.export).quantize()  # type: ignore[arg-type]
        except Exception as error:  # the converters raise whatever their libraries do
            raise ArtifactError(f"{name}: conversion failed ({one_line(error)})") from error
        path = folder / f"dense.{name}"
        path.write_bytes(add_card(model, card, path.suffix))
        paths.append(path)
    return paths


def file_costs(paths: Sequence[Path]) -> list[FileCost]:
    """Return the costs of a candidate's files that need no run: of all the memory and multiply-adds of the TFLite."""
    tflite = next(path for path in paths if path.suffix == ".tflite")
    counts = macs.count(tflite)
    ram, multiply_adds = peak_activation_bytes(tflite), counts.integer + counts.floating if counts else 0
    return [FileCost(path.name.partition(".")[2], path.stat().st_size, ram, multiply_adds) for path in paths]
