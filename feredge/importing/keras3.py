"""Loading of models saved by Keras 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feredge.keras import KerasModel


def is_keras3(config: Any) -> bool:
    """Return whether a model's configuration is of Keras 3, which has the key `batch_shape` for inputs."""
    if isinstance(config, dict):
        return "batch_shape" in config or any(is_keras3(item) for item in config.values())
    return isinstance(config, list) and any(is_keras3(item) for item in config)


def open_keras3(path: Path) -> KerasModel:
    """Return the network in a `.keras` or `.h5` file of Keras 3, which must have passed the audit.

    Raises:
        Exception: of any type, by Keras.
    """
    import keras as keras3  # type: ignore[import-untyped] # noqa: TID251 - the framework of the file

    return keras3.saving.load_model(path, compile=False, safe_mode=True)
