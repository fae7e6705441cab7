"""An exported folder, checked again: on arrival, or years later."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from feredge.artifact import Entry, Manifest
from feredge.errors import ArtifactError, VerificationError
from feredge.inspection.child import Child
from feredge.runtime import open_checked

SEED = 20_131  # of the pictures that a file is run on


def recheck(folder: Path) -> Manifest:
    """Hash every file of an export, load it, run it, and hold what it says of itself against the manifest.

    Needs onnxruntime, and LiteRT where there are `.tflite` files; not TensorFlow.

    Raises:
        ArtifactError: no manifest, or a file that is missing, damaged, cannot be run, crashes or hangs what runs it,
            or says something else.
        VerificationError: a file that is not what its precision says, or gives one answer to everything.
    """
    manifest = Manifest.read(folder)
    if not manifest.entries:
        raise ArtifactError(f"{folder}: expected a manifest of files, found one of none")
    known = {entry.file for entry in manifest.entries}
    for path in sorted(folder.iterdir()):
        if path.suffix in (".tflite", ".onnx", ".ort") and path.name not in known:
            raise ArtifactError(f"{path}: expected files that the manifest names, found another")
    with Child() as child:
        for entry in manifest.entries:
            child.call(_recheck_file, folder / entry.file, folder=folder, file=entry.file)
    return manifest


def _recheck_file(folder: str, file: str) -> None:
    """Check one file; run in a child process, because a manifest tells nobody who wrote it."""
    entry = next(entry for entry in Manifest.read(Path(folder), check=False).entries if entry.file == file)
    _recheck(Path(folder) / file, entry)


def _recheck(path: Path, entry: Entry) -> None:
    runner = open_checked(path)  # loads it, runs it, compares the cards and the shape of its answer
    if path.stat().st_size != entry.bytes:
        raise ArtifactError(f"{path}: expected {entry.bytes} bytes as the manifest says, found {path.stat().st_size}")
    pictures = np.random.default_rng(SEED).integers(0, 256, (8, *runner.card.contract.shape), dtype=np.uint8)
    pictures[::2] //= 4
    rows = runner.predict(pictures)
    if not np.isfinite(rows).all():
        raise VerificationError(f"{path}: expected probabilities, found {rows[~np.isfinite(rows)][0]}")
    if len(np.unique(rows, axis=0)) == 1:
        raise VerificationError(f"{path}: expected answers that depend on the picture, found one for all")
    _check_contents(path, entry)


def _check_contents(path: Path, entry: Entry) -> None:
    try:
        from feredge.export import contents
        from feredge.export.verify import check_storage

        inside = contents.read(path)
    except ModuleNotFoundError:  # the readers of the formats come with the workshop
        return
    check_storage(inside, entry.card, str(path))
    told = entry.verification.get("sparsity")
    if told is not None and not math.isclose(inside.sparsity, told, abs_tol=1e-9):
        raise VerificationError(f"{path}: expected {told:.2%} of the weights zero, found {inside.sparsity:.2%}")
