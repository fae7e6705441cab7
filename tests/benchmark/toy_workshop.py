"""A toy workshop: drawn faces, a linear float model, and real ONNX files made from its weights."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from device_models import card, write_linear
from numpy.typing import NDArray

from feredge import recipes
from feredge.benchmark.candidates import Subject
from feredge.benchmark.results import Effort
from feredge.data.dataset import Dataset, Splits
from feredge.data.drawn import drawn
from feredge.inference.artifact import Manifest, manifest_entry
from feredge.inference.contract import InputContract
from feredge.run import RunFolder

FILES = ("dense.float32.onnx", "rough.int8.onnx")

SMALL = Effort(
    name="quick",
    warm_runs=2,
    warm_seconds=0.0,
    rounds=3,
    seconds=0.0,
    runs=30,
    threads=(1,),
    batches=(4,),
    cold_starts=1,
    corrupted=0,
    margin=1.0,
    seed=1,
)


@dataclass(frozen=True)
class Workshop:
    """A folder of model files and the faces they are for."""

    folder: Path
    splits: Splits

    def subject(self, name: str, opener: str = "toy_runners:Linear", file: str = "float.npz") -> Subject:
        """Describe one file of the folder."""
        kind = "float" if name == "float" else "artifact"
        precision = name.split(".")[1] if "." in name else "float32"
        path = self.folder / file
        return Subject(
            name, kind, path.suffix[1:], "dense", precision, path, opener, InputContract(), self.splits.test.classes
        )

    def onnx(self, name: str) -> Subject:
        """Describe one of the ONNX files."""
        return self.subject(name, "feredge.inference.runtimes:open_artifact", name)


def build(folder: Path) -> Workshop:
    """Fit a linear model to drawn faces; keep it as `.npz`, as ONNX, and as ONNX with its weights roughly rounded."""
    faces = drawn(1400)
    train, test = (faces.take(np.flatnonzero(np.isin(faces.usage, names))) for names in (["Training"], ["PrivateTest"]))
    weights, bias = fit_linear(train)
    np.savez(folder / "float.npz", weights=weights, bias=bias)
    step = np.abs(weights).max() / 4
    rough = (np.round(weights / step) * step).astype(np.float32)
    write_linear(folder / "dense.float32.onnx", weights, bias, card())
    write_linear(folder / "rough.int8.onnx", rough, bias, card(precision="int8"))
    return Workshop(folder, Splits(train, test, test, 0))


def fit_linear(train: Dataset) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return ridge regression's weights for `uint8` pixels, sharpened so that the softmax says something."""
    pixels = train.images.reshape(len(train), -1).astype(np.float64) / 255 - 0.5
    wanted = np.eye(len(train.classes))[train.labels]
    weights = np.linalg.solve(pixels.T @ pixels + 300 * np.eye(pixels.shape[1]), pixels.T @ wanted) * 8
    return (weights / 255).astype(np.float32), (-0.5 * weights.sum(0)).astype(np.float32)


def make_run(source: Path, place: Path, faces: Dataset, files: Sequence[str] = FILES) -> RunFolder:
    """Make a run folder as training and export leave it, of the linear model and files in `source`."""
    run = RunFolder.claim(place, recipes.load("nano"), faces)
    shutil.copy(source / "float.npz", run.model)
    run.training.write_text("{}")
    export(source, run.artifacts, files)
    return run


def export(source: Path, place: Path, files: Sequence[str] = FILES) -> Path:
    """Copy files of `source` into a new folder with a manifest, and return it."""
    place.mkdir()
    paths = [Path(shutil.copy(source / name, place)) for name in files]
    Manifest(tuple(manifest_entry(path, card(precision=path.name.split(".")[1]), {}) for path in paths)).write(place)
    return place
