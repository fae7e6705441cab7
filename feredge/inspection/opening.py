"""Trial loading: a model is loaded and run in a child process before this process loads it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from feredge.inference.foreign import ForeignModel
from feredge.inspection.child import run_in_child


def try_open(model: Path | None, yunet: Path | None = None, foreign: ForeignModel | None = None) -> None:
    """Load a model, and a YuNet file, in a child process with limits, and run the model on one image.

    Raises:
        FeredgeError: see `runtime.open_checked` and `faces.open_detector`.
        ArtifactError: loading or running it crashes, hangs, or needs too much memory.
    """
    run_in_child(
        _open,
        model or "the model that comes with feredge",
        model=model,
        yunet=yunet,
        foreign=None if foreign is None else asdict(foreign),
    )


def _open(model: str | None, yunet: str | None, foreign: dict[str, Any] | None) -> None:
    from feredge.inference import face_detection
    from feredge.inference.runtimes import open_checked

    open_checked(model, foreign=None if foreign is None else ForeignModel(**foreign))
    if yunet is not None:
        face_detection.open_detector(yunet)
