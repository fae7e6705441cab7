"""The reference models by name: in the package, in a checkout's models/, and in the FEREDGE_MODELS folder."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE_FOLDER = Path(__file__).parents[1]
MODELS_VARIABLE = "FEREDGE_MODELS"
"""Environment variable: a folder of model folders, searched before the others."""


def models() -> dict[str, Path]:
    """Return the available models by name: a folder of exported files, or a single file inside the package."""
    models_by_name: dict[str, Path] = {}
    extra_folder = os.environ.get(MODELS_VARIABLE)
    for folder in (*([Path(extra_folder)] if extra_folder else []), PACKAGE_FOLDER.parent / "models"):
        for manifest in sorted(folder.glob("*/manifest.json")):
            models_by_name.setdefault(manifest.parent.name, manifest.parent)
    for file in sorted((PACKAGE_FOLDER / "models").glob("*.int8.onnx")):
        models_by_name.setdefault(file.name.partition(".")[0], file)
    return models_by_name
