"""The reference models by their names: in the package, in a checkout's models/, and where FEREDGE_MODELS says."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
PLACES = "FEREDGE_MODELS"
"""Environment variable: a folder of model folders, looked into before the others."""


def models() -> dict[str, Path]:
    """Return the models that are here: a folder of exported files by its name, or a file that the package holds."""
    found: dict[str, Path] = {}
    told = os.environ.get(PLACES)
    for place in (*([Path(told)] if told else []), PACKAGE.parent / "models"):
        for manifest in sorted(place.glob("*/manifest.json")):
            found.setdefault(manifest.parent.name, manifest.parent)
    for file in sorted((PACKAGE / "models").glob("*.int8.onnx")):
        found.setdefault(file.name.partition(".")[0], file)
    return found
