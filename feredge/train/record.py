"""What a training leaves for every later step: the float model, and training.json, which says how good it is."""

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
from feredge.keras import keras
from feredge.run import RunFolder
from feredge.train.networks import multiply_adds, weights_digest, with_contract
from feredge.train.score import score

PACKAGES = ("feredge", "numpy", "opencv-python", "tensorflow", "tf-keras")


def record(
    run: RunFolder,
    core: Any,
    splits: Splits,
    *,
    validation: NDArray[np.float32],
    test: NDArray[np.float32],
    **about: Any,
) -> None:
    """Write the float model of `core` in the input contract and, last, training.json: from then on `run` is trained.

    Args:
        run: a folder that is claimed.
        core: `float32 (N, H, W, 1)` in [0, 1] to `float32 (N, classes)` probabilities.
        splits: whose labels tell the figures.
        validation: what `core` says of the validation images, `float32 (N, classes)`.
        test: the same of the test images.
        about: further keys of training.json.
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
            **about,
            "validation": score(validation, splits.validation).to_json(),
            "test": score(test, splits.test).to_json(),
            **_about_host(),
        },
    )


def load_model(run: RunFolder) -> Any:
    """Return a trained run's float model: `uint8 (N, H, W, 1)` to `float32 (N, classes)`, not compiled.

    Raises:
        RunError: not trained yet, or a file that is not the model that training.json speaks of.
    """
    expected = RunFolder.open(run.path, trained=True).figures()["weights"]
    try:
        model = keras.models.load_model(run.model, compile=False)
    except Exception as error:  # Keras raises whatever its readers raise
        raise RunError(f"{run.model}: cannot be read ({one_line(error)})") from error
    if weights_digest(model) != expected:
        raise RunError(f"{run.model}: expected weights {expected[:12]}, found {weights_digest(model)[:12]}")
    return model


def _about_host() -> dict[str, Any]:
    """Describe the machine, as far as it decides how long training takes and which weights come out; and the tools."""
    cpu = (
        system_info.read_fields(system_info.CPUINFO_PATH).get("model name")
        or platform.processor()
        or platform.machine()
    )
    return {
        "host": {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform(terse=True)},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }
