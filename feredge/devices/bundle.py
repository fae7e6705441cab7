"""Bundles: one zip file that benchmarks a run's files on a device, as `python bench.zip`.

It holds feredge's sources, the artifacts and their manifest, the test images, and the float model's probabilities on
them, so that the device compares image by image without TensorFlow. The same run and data give the same bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import feredge
from feredge import files
from feredge.benchmark.candidates import run_candidates
from feredge.benchmark.load_metrics import LoadConfig
from feredge.benchmark.measurement import Measurement
from feredge.benchmark.workers.client import Worker
from feredge.data import split, unique_test_mask
from feredge.data.dataset import Dataset
from feredge.devices.on_device import BUNDLE_SCHEMA, DATA_FILE, PAYLOAD_FOLDER, SETTINGS_FILE
from feredge.errors import ArtifactError, DataError
from feredge.inference.artifact import MANIFEST_FILE
from feredge.progress import Progress, quiet
from feredge.run import RunFolder

SOURCE_PATTERNS = (
    "*.py",
    *(f"{package}/*.py" for package in ("inference", "inspection", "benchmark", "data", "devices", "recipes")),
    "benchmark/workers/*.py",
    "benchmark/matrix_products/*.onnx",
)
"""Of the sources in a bundle, which need numpy and onnxruntime. LiteRT and OpenCV are used where installed."""


@dataclass(frozen=True)
class BenchmarkPreset:
    """Arguments of `BenchmarkConfig.preset`, which is called on the device, whose number of cores may differ."""

    name: str = "default"
    threads: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    load: LoadConfig | None = None


DEFAULT_PRESET = BenchmarkPreset()


def bundle(
    run: RunFolder,
    dataset: Dataset,
    out: Path,
    *,
    preset: BenchmarkPreset = DEFAULT_PRESET,
    progress: Progress = quiet,
) -> Path:
    """Write a bundle of everything in `run` and the test split of `dataset` to `out`, and return it.

    Args:
        preset: of the benchmark on the device.

    Raises:
        RunError: `dataset` is not what the run was trained on.
        ArtifactError: no manifest, files that do not fit it, or a float model that cannot be run.
        DataError: no labelled test images.
    """
    run.check_data(dataset)
    candidates = run_candidates(run)
    splits = split(dataset, run.recipe().data)
    if not len(splits.test):
        raise DataError(f"{dataset.source}: expected labelled test images, found none")
    images = splits.test.images
    progress("float model's outputs", 0, 1)
    reference = _probabilities(Measurement(candidates[0]), images)
    progress("float model's outputs", 1, 1)
    settings: dict[str, Any] = {
        "schema": BUNDLE_SCHEMA,
        "effort": asdict(preset),
        "recipe": run.recipe().to_json(),
        "source": Path(dataset.source).name,
        "digest": dataset.digest,
        "classes": list(splits.test.classes),
        "dropped": splits.dropped,
        "float": {"sha256": files.sha256(run.model), "bytes": run.model.stat().st_size},
    }
    data = io.BytesIO()
    unique = unique_test_mask(dataset, splits)
    test = splits.test
    np.savez(data, images=images, labels=test.labels, rows=test.rows, unique=unique, reference=reference)
    contents = {
        "__main__.py": (Path(__file__).parent / "bundle_main.py").read_bytes(),
        **sources(),
        f"{PAYLOAD_FOLDER}/{SETTINGS_FILE}": json.dumps(settings, sort_keys=True).encode(),
        f"{PAYLOAD_FOLDER}/{DATA_FILE}": data.getvalue(),
        f"{PAYLOAD_FOLDER}/artifacts/{MANIFEST_FILE}": run.manifest.read_bytes(),
        **{
            f"{PAYLOAD_FOLDER}/artifacts/{candidate.name}": candidate.path.read_bytes()
            for candidate in candidates[1:]
            if not candidate.failure
        },
    }
    with files.replacing(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return out


def sources() -> dict[str, bytes]:
    """Return the sources in a bundle, by their paths from the package's parent."""
    package = Path(feredge.__file__).parent
    paths = sorted(path for pattern in SOURCE_PATTERNS for path in package.glob(pattern))
    return {f"feredge/{path.relative_to(package).as_posix()}": path.read_bytes() for path in paths}


def _probabilities(measurement: Measurement, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a model's probabilities, computed in a worker as a benchmark does."""
    with Worker(threads=1) as worker, measurement.recording_failure():
        measurement.load(worker, 1)
        measurement.predict_test_images(images)
    if measurement.probabilities is None:
        path, failure = measurement.candidate.path, measurement.failure
        raise ArtifactError(f"{path}: expected the float model's probabilities ({failure})")
    return measurement.probabilities
