"""Checks of the installation: packages, extras, the machine, and small trials of what feredge does."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feredge.api.dataframe import to_dataframe
from feredge.diagnostics.check import Check, import_remedy
from feredge.progress import Progress, quiet

if TYPE_CHECKING:
    import pandas

TRIAL_TIMEOUT_SECONDS = 60.0
EXPORT_TIMEOUT_SECONDS = 600.0
EXPORT_FILES = ("int8.tflite", "int8.onnx")
REINSTALL = "pip install --force-reinstall --no-deps feredge"


@dataclass(frozen=True)
class DoctorResult:
    """The results of all checks, in their order."""

    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed: feredge cannot work as it is installed."""
        return tuple(check for check in self.checks if check.status == "failed")

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per check: `section`, `name`, `status`, `detail`, `remedy`."""
        columns = ("section", "name", "status", "detail", "remedy")
        return to_dataframe(({key: getattr(check, key) for key in columns} for check in self.checks), columns)


def doctor(*, export: bool = True, progress: Progress = quiet) -> DoctorResult:
    """Check the installed packages and extras and the machine, and try a prediction and an export.

    Each package is imported, and each trial is run, in a child process. If a package that is always needed fails,
    nothing is tried. TensorFlow is imported by the trial of the export only.

    Args:
        export: try an export, which takes about half a minute, where feredge[workshop] is installed.
        progress: called before each group of checks.
    """
    from feredge.diagnostics.machine import check_machine
    from feredge.diagnostics.packages import check_packages

    progress("packages", 0, 3)
    checks = [*check_packages(), *check_machine()]
    progress("trials", 1, 3)
    if not any(check.status == "failed" for check in checks):
        checks += _check_prediction()
        progress("export", 2, 3)
        if export:
            checks += _check_export()
    progress("done", 3, 3)
    return DoctorResult(tuple(checks))


def predict_trial() -> str:
    """Classify a blank face with the network that is part of the package."""
    import time

    import numpy as np

    from feredge.inference.predictor import Predictor

    face = np.full((48, 48), 128, np.uint8)
    with Predictor(threads=1) as predictor:
        predictor(face)
        start = time.perf_counter()
        predictor(face)
        milliseconds = 1e3 * (time.perf_counter() - start)
        return f"{predictor.path.name}, {milliseconds:.2f} ms for a face"


def detect_trial() -> str:
    """Look for faces in a blank picture."""
    import numpy as np

    from feredge.inference.face_detection import detect

    return f"{len(detect(np.zeros((96, 96, 3), np.uint8)))} faces in a blank picture"


def export_trial() -> str:
    """Export a small untrained network in int8, and verify its files."""
    import tempfile
    from pathlib import Path

    from feredge.api.exporting import export
    from feredge.inference.contract import CLASSES

    with tempfile.TemporaryDirectory() as folder:
        result = export(
            _random_network(len(CLASSES)),
            data="drawn:280",
            files=EXPORT_FILES,
            input_size=16,
            input_range=(0.0, 1.0),
            classes=CLASSES,
            out=Path(folder) / "run",
        )
    for failure in result.failures:
        raise SystemExit(f"{failure.file}: {failure.reason}")
    return f"{', '.join(entry.file for entry in result.manifest.entries)}: verified"


def _random_network(classes: int) -> Any:
    """Return a Keras model with random weights, whose classes differ enough that int8 gives the same."""
    from feredge.keras import keras

    layers, normal = keras.layers, keras.initializers.RandomNormal
    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.Conv2D(4, 3, strides=2, activation="relu", kernel_initializer=normal(stddev=0.5, seed=1)),
            layers.Flatten(),
            layers.Dense(classes, kernel_initializer=normal(stddev=1.0, seed=2)),
        ]
    )


def _check_prediction() -> Iterator[Check]:
    yield _try("prediction", "predict_trial", REINSTALL)
    yield _try("face detection", "detect_trial", import_remedy("opencv-python", ""))


def _check_export() -> Iterator[Check]:
    if importlib.util.find_spec("tensorflow") is not None:
        remedy = "pip install --upgrade --force-reinstall 'feredge[workshop]'"
        yield _try("export", "export_trial", remedy, EXPORT_TIMEOUT_SECONDS)


def _try(name: str, function: str, remedy: str, timeout_seconds: float = TRIAL_TIMEOUT_SECONDS) -> Check:
    from feredge.diagnostics.trial import TrialError, TrialTimeoutError, run_code

    code = f"from {__name__} import {function}\nprint({function}())"
    try:
        return Check("trials", name, "ok", run_code(code, timeout_seconds=timeout_seconds))
    except TrialTimeoutError as error:
        return Check("trials", name, "failed", str(error), "try again while the machine does nothing else")
    except TrialError as error:
        return Check("trials", name, "failed", str(error), remedy)
