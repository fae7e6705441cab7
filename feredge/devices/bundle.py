"""`bundle`: one zip file that measures a run's files on a device, as `python bench.zip`.

In it: feredge's sources, the artifacts and their manifest, the test images, and the float model's answers on them,
so that the device compares image by image without TensorFlow. The same run and data give the same bytes.
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
from feredge.benchmark.measurement import Measurement
from feredge.benchmark.workers.client import Worker
from feredge.data import split, unique_test_mask
from feredge.data.dataset import Dataset
from feredge.devices.on_device import DATA, PAYLOAD, SCHEMA, SETTINGS
from feredge.errors import ArtifactError, DataError
from feredge.inference.artifact import MANIFEST_FILE
from feredge.progress import Progress, quiet
from feredge.run import RunFolder

SOURCES = tuple(
    f"{room}*.py"
    for room in ("", "inference/", "inspection/", "benchmark/", "benchmark/workers/", "data/", "devices/", "recipes/")
)
"""What a device runs of feredge; its needs are numpy and onnxruntime. LiteRT and OpenCV are used where they are."""


@dataclass(frozen=True)
class DeviceBenchmarkConfig:
    """Arguments of `BenchmarkConfig.preset` on the device, whose number of cores may differ."""

    name: str = "default"
    threads: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()


NORMAL = DeviceBenchmarkConfig()


def bundle(
    run: RunFolder,
    dataset: Dataset,
    out: Path,
    *,
    hard: DeviceBenchmarkConfig = NORMAL,
    progress: Progress = quiet,
) -> Path:
    """Write a bundle of everything in `run` and the test split of `dataset` to `out`, and return it.

    Args:
        hard: how hard the device measures.

    Raises:
        RunError: `dataset` is not what the run was trained on.
        ArtifactError: no manifest, files that do not fit it, or a float model that gives no answers.
        DataError: no labelled test images.
    """
    run.check_data(dataset)
    subjects = run_candidates(run)
    splits = split(dataset, run.recipe().data)
    if not len(splits.test):
        raise DataError(f"{dataset.source}: expected labelled test images, found none")
    images = splits.test.batch
    progress("float model's answers", 0, 1)
    reference = _answers(Measurement(subjects[0]), images)
    progress("float model's answers", 1, 1)
    settings: dict[str, Any] = {
        "schema": SCHEMA,
        "effort": asdict(hard),
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
        f"{PAYLOAD}/{SETTINGS}": json.dumps(settings, sort_keys=True).encode(),
        f"{PAYLOAD}/{DATA}": data.getvalue(),
        f"{PAYLOAD}/artifacts/{MANIFEST_FILE}": run.manifest.read_bytes(),
        **{f"{PAYLOAD}/artifacts/{one.name}": one.path.read_bytes() for one in subjects[1:] if not one.failure},
    }
    with files.replacing(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return out


def sources() -> dict[str, bytes]:
    """Return what a device runs of feredge, by the names that the files have beside the package."""
    package = Path(feredge.__file__).parent
    paths = sorted(path for pattern in SOURCES for path in package.glob(pattern))
    return {f"feredge/{path.relative_to(package).as_posix()}": path.read_bytes() for path in paths}


def _answers(measurement: Measurement, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a model's probabilities, by the process that would measure it here."""
    with Worker(threads=1) as worker, measurement.recording_failure():
        measurement.load(worker, 1)
        measurement.predict_test_images(images)
    if measurement.probabilities is None:
        path, failure = measurement.candidate.path, measurement.failure
        raise ArtifactError(f"{path}: expected the float model's answers ({failure})")
    return measurement.probabilities
