"""A toy workshop: drawn faces, a linear float model, and real ONNX files made from its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge.artifact import CARD_KEY, Card
from feredge.bench.results import Effort
from feredge.bench.subjects import Subject
from feredge.contract import CLASSES, InputContract
from feredge.data.dataset import Dataset, Splits
from feredge.data.drawn import drawn

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
        return self.subject(name, "feredge.runtime:open_artifact", name)


def build(folder: Path) -> Workshop:
    """Fit a linear model to drawn faces; keep it as `.npz`, as ONNX, and as ONNX with its weights roughly rounded."""
    faces = drawn(1400)
    train, test = (faces.take(np.flatnonzero(np.isin(faces.usage, names))) for names in (["Training"], ["PrivateTest"]))
    weights, bias = fit_linear(train)
    np.savez(folder / "float.npz", weights=weights, bias=bias)
    step = np.abs(weights).max() / 4
    write_onnx(folder / "dense.float32.onnx", weights, bias, "float32")
    write_onnx(folder / "rough.int8.onnx", (np.round(weights / step) * step).astype(np.float32), bias, "int8")
    return Workshop(folder, Splits(train, test, test, 0))


def fit_linear(train: Dataset) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return ridge regression's weights for `uint8` pixels, sharpened so that the softmax says something."""
    pixels = train.images.reshape(len(train), -1).astype(np.float64) / 255 - 0.5
    wanted = np.eye(len(train.classes))[train.labels]
    weights = np.linalg.solve(pixels.T @ pixels + 300 * np.eye(pixels.shape[1]), pixels.T @ wanted) * 8
    return (weights / 255).astype(np.float32), (-0.5 * weights.sum(0)).astype(np.float32)


def write_onnx(path: Path, weights: NDArray[np.float32], bias: NDArray[np.float32], precision: str) -> None:
    """Write softmax(flatten(pixels) @ weights + bias) with a feredge card inside."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 48, 48, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(bias)])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    card = Card("dense", precision, CLASSES, InputContract())
    helper.set_model_props(model, {CARD_KEY: json.dumps(card.to_json())})
    onnx.save(model, path)
