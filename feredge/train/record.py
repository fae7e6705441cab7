"""The results of a training: the float model, and training.json with its metrics."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge import files
from feredge.data.dataset import Splits
from feredge.errors import RunError, one_line
from feredge.inference import system_info
from feredge.keras import KerasModel, keras
from feredge.run import RunFolder
from feredge.train.networks import multiply_adds, weights_digest, with_contract
from feredge.train.score import score

RECORDED_PACKAGES = ("feredge", "numpy", "opencv-python", "tensorflow", "tf-keras")


def save_trained_run(
    run: RunFolder,
    core: KerasModel,
    splits: Splits,
    *,
    validation: NDArray[np.float32],
    test: NDArray[np.float32],
    **extra: Any,
) -> None:
    """Write the float model of `core`, with the input contract, and training.json, which marks `run` as trained.

    Args:
        run: a claimed folder.
        core: `float32 (N, H, W, C)` in [0, 1] to `float32 (N, classes)` probabilities.
        splits: the validation and test labels.
        validation: predictions of `core` for the validation images, `float32 (N, classes)`.
        test: the same for the test images.
        extra: further keys of training.json.
    """
    model = with_contract(core)
    with files.replacing(run.model) as temporary:
        model.save(temporary)
    files.write_json(
        run.training,
        {
            "weights": weights_digest(model),
            "parameters": int(core.count_params()),
            "multiply_adds": multiply_adds(core),
            **extra,
            "validation": score(validation, splits.validation).to_json(),
            "test": score(test, splits.test).to_json(),
            **_environment(),
        },
    )


def load_model(run: RunFolder) -> KerasModel:
    """Return a trained run's float model: `uint8 (N, H, W, C)` to `float32 (N, classes)`, not compiled.

    Raises:
        RunError: not trained yet, or a file that is not the model of training.json.
    """
    expected = RunFolder.open(run.path, trained=True).training_record()["weights"]
    try:
        model = keras.models.load_model(run.model, compile=False)
    except Exception as error:  # of any type: Keras raises what its readers raise
        raise RunError(f"{run.model}: cannot be read ({one_line(error)})") from error
    if weights_digest(model) != expected:
        raise RunError(f"{run.model}: expected weights {expected[:12]}, found {weights_digest(model)[:12]}")
    return model


def _environment() -> dict[str, Any]:
    """Return the machine, as far as training time and weights depend on it, and the versions of the packages."""
    cpu = (
        system_info.read_fields(system_info.CPUINFO_PATH).get("model name")
        or platform.processor()
        or platform.machine()
    )
    return {
        "host": {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform(terse=True)},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in RECORDED_PACKAGES}},
    }
