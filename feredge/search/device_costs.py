"""Costs of a candidate's files elsewhere: latency on a device over ssh, instructions on an emulated Arm core."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import feredge.recipes as recipes
from feredge.benchmark.candidates import Candidate
from feredge.data import split
from feredge.data.dataset import Dataset
from feredge.devices.bundle import BenchmarkPreset
from feredge.devices.instruction_count import count_instructions
from feredge.devices.remote import bench_on
from feredge.devices.ssh import Device
from feredge.errors import DeviceError
from feredge.inference.artifact import Manifest, manifest_entry
from feredge.inference.embedded_card import read_card
from feredge.recipes.schema import DataView, Recipe
from feredge.run import RunFolder
from feredge.search.candidate import build_untrained, export_untrained
from feredge.train.networks import make_predict_function
from feredge.train.record import save_trained_run

if TYPE_CHECKING:
    from feredge.keras import KerasModel

REFERENCE_RECIPE = "nano"
REFERENCE_FILE = "reference.int8.onnx"
NOISE_IMAGES = 64


def instruction_counts(paths: Sequence[Path], core: str) -> list[float]:
    """Return the instructions of one inference of each file on an emulated Arm core.

    Raises:
        DeviceError: no qemu or Zig here, or a file that does not run there.
    """
    subjects = [Candidate.from_card(read_card(path), path) for path in paths]
    images = np.random.default_rng(0).integers(0, 256, (NOISE_IMAGES, *subjects[0].contract.shape), np.uint8)
    counts = count_instructions(subjects, images, core)
    for name, count in counts.items():
        if count.count is None:
            raise DeviceError(f"{name}: expected instructions on {core}, found none ({count.failure})")
    return [counts[subject.name].count or 0.0 for subject in subjects]


def device_ratios(
    device: Device, core: KerasModel, recipe: Recipe, paths: Sequence[Path], folder: Path
) -> tuple[list[float | None], float]:
    """Time a candidate's files on a device, in interleaved rounds with the untrained network of REFERENCE_RECIPE.

    Args:
        device: reached by ssh.
        core: the candidate's network.
        recipe: the candidate's.
        paths: its files.
        folder: for temporary files.

    Returns:
        Each file's latency over the reference's, None for one that does not run there; and the reference's in ms.

    Raises:
        DeviceError: a device that cannot be reached, or does not run the reference.
    """
    classes = read_card(paths[0]).classes
    reference = _export_reference(recipe, classes, folder)
    run, dataset = _untrained_run(core, recipe, [*paths, reference], classes, folder / "run")
    results = bench_on(device, run, dataset, preset=BenchmarkPreset("quick"))
    latencies = {row.name: row.main_latency.median for row in results.rows if row.main_latency is not None}
    if REFERENCE_FILE not in latencies:
        raise DeviceError(f"{device.address}: expected the latency of a reference network, found none")
    reference_ms = latencies[REFERENCE_FILE]
    ratios = [latencies[path.name] / reference_ms if path.name in latencies else None for path in paths]
    return ratios, reference_ms


def _export_reference(recipe: Recipe, classes: tuple[str, ...], folder: Path) -> Path:
    """Write the untrained reference network for the candidate's size and classes."""
    base = recipes.load(REFERENCE_RECIPE)
    reference = replace(base, data=recipe.data)
    (folder / "reference").mkdir()
    paths = export_untrained(build_untrained(reference, len(classes)), reference, classes, folder / "reference")
    return next(path for path in paths if path.suffix == ".onnx").rename(folder / REFERENCE_FILE)


def _untrained_run(
    core: Any, recipe: Recipe, paths: Sequence[Path], classes: tuple[str, ...], folder: Path
) -> tuple[RunFolder, Dataset]:
    """Return a run of files on images of noise, as a bundle takes it, and these images."""
    view = DataView(size=recipe.data.size, channels=recipe.data.channels)
    recipe = replace(recipe, data=view)
    shape = NOISE_IMAGES, view.size, view.size, view.channels
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    usage = np.where(np.arange(NOISE_IMAGES) < NOISE_IMAGES // 2, "Training", "PrivateTest")
    labels = (np.arange(NOISE_IMAGES) % len(classes)).astype(np.int8)
    dataset = Dataset(images, labels, usage, np.arange(NOISE_IMAGES), classes, "0" * 64, "noise")
    run, splits, predict = (
        RunFolder.claim(folder, recipe, dataset),
        split(dataset, recipe.data),
        make_predict_function(core),
    )
    save_trained_run(run, core, splits, validation=predict(splits.validation.images), test=predict(splits.test.images))
    run.artifacts.mkdir()
    copies = [Path(shutil.copy(path, run.artifacts)) for path in paths]
    Manifest(tuple(manifest_entry(path, read_card(path), {}) for path in copies)).write(run.artifacts)
    return run, dataset
