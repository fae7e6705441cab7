"""Toy models for tests: drawn faces, a linear float model, and real ONNX files made from its weights."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from device_models import card, save_onnx, write_linear
from numpy.typing import NDArray

import feredge.recipes as recipes
from feredge.benchmark.candidates import Candidate, TestSet
from feredge.benchmark.config import BenchmarkConfig
from feredge.benchmark.results import Kind
from feredge.data.dataset import Dataset, Splits
from feredge.data.drawn import drawn
from feredge.inference.artifact import Manifest, manifest_entry
from feredge.inference.contract import InputContract
from feredge.run import RunFolder

MODEL_FILES = ("dense.float32.onnx", "rough.int8.onnx")

SMALL_CONFIG = BenchmarkConfig(
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
    """A folder of model files, and the faces that they are fitted and evaluated on."""

    folder: Path
    splits: Splits

    def candidate(self, name: str, opener: str = "toy_runners:Linear", file: str = "float.npz") -> Candidate:
        """Return a candidate of one file of the folder."""
        kind: Kind = "float" if name == "float" else "artifact"
        precision = name.split(".")[1] if "." in name else "float32"
        path = self.folder / file
        return Candidate(
            name, kind, path.suffix[1:], "dense", precision, path, opener, InputContract(), self.splits.test.classes
        )

    def onnx(self, name: str) -> Candidate:
        """Return a candidate of one of the ONNX files."""
        return self.candidate(name, "feredge.inference.runtimes:open_artifact", name)

    def test_set(self, *candidates: Candidate, unique: NDArray[np.bool_] | None = None) -> TestSet:
        """Return the test images with these candidates; all images are unique by default."""
        everything = np.ones(len(self.splits.test), np.bool_)
        return TestSet(candidates, self.splits, everything if unique is None else unique)


def build(folder: Path) -> Workshop:
    """Fit a linear model to drawn faces; write it as `.npz`, as ONNX, and as ONNX with coarsely rounded weights."""
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
    """Return ridge regression's weights for `uint8` pixels, scaled up for confident softmax outputs."""
    pixels = train.images.reshape(len(train), -1).astype(np.float64) / 255 - 0.5
    targets = np.eye(len(train.classes))[train.labels]
    weights = np.linalg.solve(pixels.T @ pixels + 300 * np.eye(pixels.shape[1]), pixels.T @ targets) * 8
    return (weights / 255).astype(np.float32), (-0.5 * weights.sum(0)).astype(np.float32)


def make_run(source: Path, destination: Path, faces: Dataset, files: Sequence[str] = MODEL_FILES) -> RunFolder:
    """Make a run folder as training and export leave it, of the linear model and files in `source`."""
    run = RunFolder.claim(destination, recipes.load("nano"), faces)
    shutil.copy(source / "float.npz", run.model)
    run.training.write_text("{}")
    export(source, run.artifacts, files)
    return run


def export(source: Path, destination: Path, files: Sequence[str] = MODEL_FILES) -> Path:
    """Copy files of `source` into a new folder with a manifest, and return it."""
    destination.mkdir()
    paths = [Path(shutil.copy(source / name, destination)) for name in files]
    Manifest(tuple(manifest_entry(path, card(precision=path.name.split(".")[1]), {}) for path in paths)).write(
        destination
    )
    return destination


def foreign_onnx(path: Path, workshop: Workshop, *, black: float, white: float, classes: int = 7) -> Path:
    """The workshop's model as another tool would write it: float pixels from black to white, channels first, logits."""
    from onnx import TensorProto, helper

    with np.load(workshop.folder / "float.npz") as file:
        weights, bias = file["weights"][:, :classes], file["bias"][:classes]
    factor = 255 / (white - black)  # pixel = (value - black) * factor
    tensors = {"weights": weights * np.float32(factor), "bias": bias - np.float32(black * factor) * weights.sum(0)}
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
    ]
    graph_input = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 48, 48])
    graph_output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes])
    return save_onnx(path, nodes, graph_input, graph_output, tensors)
