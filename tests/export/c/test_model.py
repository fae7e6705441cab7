"""What a C library is not generated from: each a line that says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from one_operator import GraphBuilder, convolution

from feredge.errors import ArtifactError
from feredge.export.c.model import read_model
from feredge.export.c.source import generate
from feredge.inspection import flatbuffer

MODELS = Path(__file__).parents[3] / "models"
CLASSES = tuple("abcdefg")


def refused(model: bytes, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        generate(model, name="net", classes=CLASSES)


def test_float_files_are_refused() -> None:
    """Guards float and hybrid files, whose arithmetic the kernels do not have."""
    refused((MODELS / "nano/dense.float32.tflite").read_bytes(), "expected .*, found ")


def test_unsupported_operators_are_refused() -> None:
    """Guards the list of operators: a TANH."""
    graph = GraphBuilder()
    first = convolution(graph, graph.image((3, 3, 1)), 7)
    last = graph.operator("TANH", [first], graph.int8((1, 3, 3, 7), 1 / 128, 0))
    refused(graph.finish(last), "expected operators of a C library .*, found TANH")


def test_dilated_convolutions_are_refused() -> None:
    """Guards an option that the kernels do not have."""
    graph = GraphBuilder()
    last = convolution(graph, graph.image((5, 5, 1)), 7, dilationHFactor=2)
    refused(graph.finish(last), "operator 1 CONV_2D: expected an output of shape that its inputs allow")


def test_shapes_that_do_not_fit_are_refused() -> None:
    """Guards memory: C trusts the shapes, and a file may state any."""
    graph = GraphBuilder()
    last = convolution(graph, graph.image((3, 3, 1)), 7)
    graph.graph.tensors[last].shape = [1, 1, 1, 7]
    refused(graph.finish(last), r"expected an output of shape \(1, 3, 3, 7\), found \(1, 1, 1, 7\)")


@pytest.mark.parametrize(
    ("place", "message"),
    [("inside", "operator 1 CONV_2D: .*, found a scalar"), ("output", r"expected an output of \(1, classes\)")],
)
def test_scalars_are_refused(place: str, message: str) -> None:
    """Guards the generator, which reads the sizes of axes, against tensors without any."""
    graph = GraphBuilder()
    first = convolution(graph, graph.image((3, 3, 1)), 7)
    graph.finish(graph.operator("MUL", [first, first], graph.int8((1, 3, 3, 7)), "MulOptions"))
    graph.graph.tensors[first if place == "inside" else graph.graph.outputs[0]].shape = []
    refused(flatbuffer.pack(graph.model), message)


def test_sums_that_overflow_are_refused() -> None:
    """Guards signed overflow, which is undefined in C."""
    graph = GraphBuilder()
    last = convolution(graph, graph.image((3, 3, 1)), 7)
    buffer = graph.model.buffers[graph.graph.tensors[graph.graph.operators[-1].inputs[2]].buffer]
    buffer.data = np.frombuffer(np.full(7, 2**31 - 1, np.int32).tobytes(), np.uint8)
    with pytest.raises(ArtifactError, match="operator 1 CONV_2D: expected sums that fit into 32 bits"):
        generate(graph.finish(last), name="net", classes=list(map(str, range(63))))


def test_class_names_must_fit() -> None:
    """Guards the number of class names."""
    model = (MODELS / "nano/dense.int8.tflite").read_bytes()
    with pytest.raises(ArtifactError, match="expected 7 class names, found 2"):
        generate(model, name="net", classes=("a", "b"))


def test_corrupted_files_are_refused_in_one_line() -> None:
    """Guards the generator against hostile files: an ArtifactError, or C that is as safe as any."""
    model = (MODELS / "nano/dense.int8.tflite").read_bytes()
    random = np.random.default_rng(5)
    structure = np.frombuffer(model, np.uint8)
    for _ in range(300):
        damaged = structure.copy()
        start = (
            int(random.integers(0, len(damaged) - 8))
            if random.random() < 0.3
            else len(damaged) - int(random.integers(9, 12_000))
        )
        damaged[start : start + int(random.integers(1, 5))] = random.integers(0, 256)
        try:
            read_model(damaged.tobytes())
        except ArtifactError as error:
            assert "\n" not in str(error)
