"""An exported folder, checked again: on arrival, or years later."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feredge.errors import ArtifactError, FeredgeError, VerificationError, one_line
from feredge.inference.artifact import PROBES_FILE, Entry, Manifest, check_digest
from feredge.inference.runtimes import Probabilities, open_checked
from feredge.inspection.child import Child
from feredge.inspection.probes import answer_bound, compare_answers, probe_answers, read_probes
from feredge.inspection.storage_checks import measure_kernels


@dataclass(frozen=True)
class FileCheck:
    """One file of an exported folder. `failure` is empty where everything holds, else one line with its path."""

    file: str
    sha256: str
    failure: str = ""


def recheck(folder: Path) -> tuple[FileCheck, ...]:
    """Hash every file of an export, load it, and hold contents, card and answers against the manifest.

    A bad file does not stop the check of the others. Needs onnxruntime and onnx, and LiteRT where there are `.tflite`
    files; not TensorFlow.

    Returns:
        The manifest's files in its order; then what else is wrong: stored answers, files that no manifest names.

    Raises:
        ArtifactError: no manifest, or one that is damaged or names nothing.
    """
    manifest = Manifest.read(folder, check=False)
    if not manifest.entries:
        raise ArtifactError(f"{folder}: expected a manifest of files, found one of none")
    checks = []
    try:
        answers = _stored_answers(folder, manifest)
    except ArtifactError as error:
        answers = {}
        checks.append(FileCheck(PROBES_FILE, manifest.probes, str(error)))
    known = {entry.file for entry in manifest.entries}
    for path in sorted(folder.iterdir()):
        if path.suffix in (".tflite", ".onnx", ".ort") and path.name not in known:
            checks.append(FileCheck(path.name, "", f"{path}: expected files that the manifest names, found another"))
    with Child() as child:
        return (*(_check_file(child, folder, entry, answers.get(entry.file)) for entry in manifest.entries), *checks)


def _stored_answers(folder: Path, manifest: Manifest) -> dict[str, Probabilities]:
    path = folder / PROBES_FILE
    if not manifest.probes:
        raise ArtifactError(f"{path}: expected stored answers, found a manifest without; `feredge export` adds them")
    check_digest(path, manifest.probes)
    return read_probes(path, {entry.file: len(entry.card.classes) for entry in manifest.entries})


def _check_file(child: Child, folder: Path, entry: Entry, stored: Probabilities | None) -> FileCheck:
    path = folder / entry.file
    answers = None if stored is None else stored.tolist()
    try:
        check_digest(path, entry.sha256)
        child.call(_open_and_check, path, folder=folder, file=entry.file, answers=answers)
    except FeredgeError as error:
        return FileCheck(entry.file, entry.sha256, str(error))
    return FileCheck(entry.file, entry.sha256)


def _open_and_check(folder: str, file: str, answers: list[list[float]] | None) -> None:
    """Check one file; run in a child process, because a manifest tells nobody who wrote it."""
    entry = next(entry for entry in Manifest.read(Path(folder), check=False).entries if entry.file == file)
    path = Path(folder) / file
    _check_answers(path, entry, None if answers is None else np.array(answers, np.float32))
    if path.stat().st_size != entry.bytes:
        raise ArtifactError(f"{path}: expected {entry.bytes} bytes as the manifest says, found another size")
    _check_contents(path, entry)


def _check_answers(path: Path, entry: Entry, stored: Probabilities | None) -> None:
    runner = open_checked(path)  # loads it, runs it, compares the cards and the shape of its answer
    rows = probe_answers(runner)
    if not np.isfinite(rows).all():
        raise VerificationError(f"{path}: expected probabilities, found {rows[~np.isfinite(rows)][0]}")
    if len(np.unique(rows, axis=0)) == 1:
        raise VerificationError(f"{path}: expected answers that depend on the picture, found one for all")
    if stored is None:
        return  # reported once, for the folder
    bound = answer_bound(entry.format, entry.card.precision)
    found = compare_answers(rows, stored, bound)
    if not found.largest <= bound:  # not `>`, which would let NaN through
        raise VerificationError(
            f"{path}: expected the stored answers within {bound:.2g}, found a difference of {found.largest:.3g} and "
            f"another class on {found.changed} of {len(rows)} pictures"
        )


def _check_contents(path: Path, entry: Entry) -> None:
    try:
        measured = measure_kernels(path, entry.card, str(path))
    except ModuleNotFoundError as error:
        raise ArtifactError(
            f"{path}: expected {error.name} to read its weights with, found none: pip install 'feredge[workshop]'"
        ) from error
    except FeredgeError:
        raise
    except Exception as error:  # the formats' readers raise whatever damaged tables lead them to
        raise ArtifactError(f"{path}: expected weights that can be read, found others ({one_line(error)})") from error
    expected = entry.verification.get("sparsity")
    if expected is not None and not math.isclose(measured["sparsity"], expected, abs_tol=1e-9):
        raise VerificationError(
            f"{path}: expected {expected:.2%} of the weights zero, found {measured['sparsity']:.2%}"
        )
