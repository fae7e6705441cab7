"""A run folder with a linear float model, real ONNX files, and its bundle, made once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_workshop import MODEL_FILES, build, make_run

from feredge.benchmark import candidates, latency, machine
from feredge.benchmark.accuracy import accuracy
from feredge.benchmark.config import BenchmarkConfig
from feredge.benchmark.metrics import Latency, SensorReading, ThrottlingState
from feredge.benchmark.results import Data, Results, Row
from feredge.data.dataset import Dataset
from feredge.data.drawn import drawn
from feredge.devices.bundle import BenchmarkPreset, bundle
from feredge.run import RunFolder

LINEAR = "toy_runners:Linear"


@pytest.fixture(scope="session")
def faces() -> Dataset:
    """The dataset that the run's model was fitted on."""
    return drawn(1400)


@pytest.fixture(scope="session")
def toy_run(faces: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run folder as training and export leave it, with a linear model; do not change it."""
    folder = tmp_path_factory.mktemp("devices")
    build(folder)
    (folder / "dense.int8.tflite").write_bytes(b"not opened by any test")
    return make_run(folder, folder / "run", faces, (*MODEL_FILES, "dense.int8.tflite"))


@pytest.fixture(autouse=True)
def linear_float(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open the toy run's float model with the runner that can."""
    monkeypatch.setattr(candidates, "FLOAT_RUNNER", LINEAR)


@pytest.fixture(scope="session")
def toy_bundle(toy_run: RunFolder, faces: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's bundle."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "FLOAT_RUNNER", LINEAR)
        return bundle(toy_run, faces, tmp_path_factory.mktemp("bundle") / "bench.zip", preset=BenchmarkPreset("quick"))


@pytest.fixture(scope="session")
def bare_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages as a bare device has it: numpy and onnxruntime, nothing else."""
    import numpy
    import onnxruntime

    folder = tmp_path_factory.mktemp("packages")
    for module in (numpy, onnxruntime):
        package = Path(str(module.__file__)).parent
        (folder / package.name).symlink_to(package)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            (folder / libraries.name).symlink_to(libraries)
    return folder


@pytest.fixture(scope="session")
def sample_results(faces: Dataset) -> Results:
    """Results of one file with a sample latency, as a device writes them."""
    timing = latency.summarize_rounds([np.full(40, 200_000)] * 5)
    condition = ThrottlingState(
        SensorReading("ondemand", 81.0, ()), SensorReading("ondemand", 85.5, ("throttled",)), ("throttled",)
    )
    valid = replace(condition, slowed=())
    row = Row(
        name="a.int8.onnx",
        kind="artifact",
        format="onnx",
        variant="a",
        precision="int8",
        sha256="ab" * 32,
        bytes=1000,
        accuracy=accuracy(np.eye(7, dtype=np.float32)[faces.labels], faces.labels),
        latency=(Latency(1, timing, None, None, (), (valid, condition, valid, valid, valid)),),
    )
    images = tuple(map(int, np.bincount(faces.labels, minlength=7)))
    data = Data("faces", faces.digest, faces.classes, images, 0, 0)
    return Results({"name": "toy"}, data, machine.describe(), BenchmarkConfig.preset("quick"), "2026-01-02", (row,))
