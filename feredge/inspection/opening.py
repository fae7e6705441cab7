"""Trial loading: a model is loaded and run in a child process before this process loads it."""

from __future__ import annotations

from pathlib import Path

from feredge.inspection.child import run_in_child


def try_open(model: Path | None, yunet: Path | None = None) -> None:
    """Load a model, and a YuNet file, in a child process with limits, and run the model on one image.

    Raises:
        FeredgeError: see `runtime.open_checked` and `faces.open_detector`.
        ArtifactError: loading or running it crashes, hangs, or needs too much memory.
    """
    run_in_child(_open, model or "the model that comes with feredge", model=model, yunet=yunet)


def _open(model: str | None, yunet: str | None) -> None:
    from feredge.inference import face_detection
    from feredge.inference.runtimes import open_checked

    open_checked(model)
    if yunet is not None:
        face_detection.open_detector(yunet)
