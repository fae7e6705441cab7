"""Opening a model on trial, in a child process: what opens there opens here."""

from __future__ import annotations

from pathlib import Path

from feredge.inspection.child import run


def try_open(model: Path | None, yunet: Path | None = None) -> None:
    """Open a model, and a YuNet file, in a child process with limits, and run one picture through the model.

    Raises:
        FeredgeError: see `runtimes.open_checked` and `face_detection.open_detector`.
        ArtifactError: opening or running it crashes, hangs, or needs too much memory.
    """
    run(_open, model or "the model that comes with feredge", model=model, yunet=yunet)


def _open(model: str | None, yunet: str | None) -> None:
    from feredge.inference import face_detection
    from feredge.inference.runtimes import open_checked

    open_checked(model)
    if yunet is not None:
        face_detection.open_detector(yunet)
