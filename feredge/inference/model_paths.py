"""Where a model is: an existing path, or a reference model's name; and the folder of its exported files.

`feredge.paths` tells the kinds of paths apart with these, `runtimes.find_model` picks a file with them.
"""

from __future__ import annotations

import os
from pathlib import Path

from feredge.inference import model_zoo
from feredge.inference.artifact import MANIFEST_FILE, complete_interrupted_replacement

ARTIFACTS_FOLDER = "artifacts"
"""Of the exported files in a run folder."""


def locate(target: str | os.PathLike[str]) -> Path | None:
    """Return an existing path as it is, else the path of the reference model of this name; None for anything else.

    First completes an export that was killed between its two renames.
    """
    path = Path(target)
    complete_interrupted_replacement(path)
    if os.path.exists(path):  # noqa: PTH110 - Path.exists raises for a name that is too long
        return path
    return model_zoo.models().get(str(target))


def exported_folder(folder: Path) -> Path | None:
    """Return the folder with a manifest: `folder` itself, or the folder of exported files in it; None for neither."""
    if (folder / MANIFEST_FILE).is_file():
        return folder
    artifacts = folder / ARTIFACTS_FOLDER
    complete_interrupted_replacement(artifacts)
    return artifacts if (artifacts / MANIFEST_FILE).is_file() else None
