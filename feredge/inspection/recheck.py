"""Verification of an exported folder against its manifest: digests, contents, cards and reference outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feredge.errors import ArtifactError, FeredgeError, VerificationError, one_line
from feredge.inference.abstention import THRESHOLDS_FILE, read_thresholds
from feredge.inference.artifact import MODEL_FORMATS, PROBES_FILE, Entry, Manifest, check_digest
from feredge.inference.runtimes import Probabilities, open_checked
from feredge.inference.shared_library import SHARED_LIBRARY_SUFFIX
from feredge.inspection.child import ChildProcess
from feredge.inspection.probes import compare_outputs, probability_tolerance, probe_outputs, read_probes
from feredge.inspection.storage_checks import measure_kernels


@dataclass(frozen=True)
class FileCheck:
    """Result of one file. `failure` is empty where every check passed, else one line with its path."""

    file: str
    sha256: str
    failure: str = ""


def recheck(folder: Path) -> tuple[FileCheck, ...]:
    """Hash every file of an export, load and run it, and check contents, card and outputs against the manifest.

    A bad file does not stop the check of the others. Needs onnxruntime and onnx, and LiteRT where there are `.tflite`
    files; not TensorFlow.

    Returns:
        The manifest's files in its order; then other failures: missing reference outputs, files not in the manifest.

    Raises:
        ArtifactError: no manifest, or one that is damaged or names nothing.
    """
    manifest = Manifest.read(folder, check=False)
    if not manifest.entries:
        raise ArtifactError(f"{folder}: expected a manifest of files, found one of none")
    checks = []
    try:
        references = _reference_outputs(folder, manifest)
    except ArtifactError as error:
        references = {}
        checks.append(FileCheck(PROBES_FILE, manifest.probes, str(error)))
    if manifest.thresholds:
        try:
            read_thresholds(folder)
        except ArtifactError as error:
            checks.append(FileCheck(THRESHOLDS_FILE, manifest.thresholds, str(error)))
    manifest_files = {entry.file for entry in manifest.entries}
    for path in sorted(folder.iterdir()):
        if path.suffix[1:] in MODEL_FORMATS and path.name not in manifest_files:
            checks.append(FileCheck(path.name, "", f"{path}: expected files that the manifest names, found another"))
    with ChildProcess() as child:
        results = [_check_file(child, folder, entry, references.get(entry.file)) for entry in manifest.entries]
    return (*results, *checks)


def _reference_outputs(folder: Path, manifest: Manifest) -> dict[str, Probabilities]:
    path = folder / PROBES_FILE
    if not manifest.probes:
        raise ArtifactError(f"{path}: expected reference outputs, found a manifest without; `feredge export` adds them")
    check_digest(path, manifest.probes)
    return read_probes(path, {entry.file: len(entry.card.classes) for entry in manifest.entries})


def _check_file(child: ChildProcess, folder: Path, entry: Entry, reference: Probabilities | None) -> FileCheck:
    path = folder / entry.file
    if path.suffix == SHARED_LIBRARY_SUFFIX:  # a manifest from elsewhere must not have its code run
        return FileCheck(entry.file, entry.sha256, f"{path}: expected a model file, found native code that is not run")
    rows = None if reference is None else reference.tolist()
    try:
        check_digest(path, entry.sha256)
        child.call(_open_and_check, path, folder=folder, file=entry.file, reference=rows)
    except FeredgeError as error:
        return FileCheck(entry.file, entry.sha256, str(error))
    return FileCheck(entry.file, entry.sha256)


def _open_and_check(folder: str, file: str, reference: list[list[float]] | None) -> None:
    """Check one file; called in a child process, because the file is untrusted."""
    entry = next(entry for entry in Manifest.read(Path(folder), check=False).entries if entry.file == file)
    path = Path(folder) / file
    _check_outputs(path, entry, None if reference is None else np.array(reference, np.float32))
    if path.stat().st_size != entry.bytes:
        raise ArtifactError(f"{path}: expected {entry.bytes} bytes as the manifest says, found another size")
    _check_contents(path, entry)


def _check_outputs(path: Path, entry: Entry, reference: Probabilities | None) -> None:
    runner = open_checked(path)  # loads it, runs it, compares the cards and the shape of its output
    rows = probe_outputs(runner)
    if not np.isfinite(rows).all():
        raise VerificationError(f"{path}: expected probabilities, found {rows[~np.isfinite(rows)][0]}")
    if len(np.unique(rows, axis=0)) == 1:
        raise VerificationError(f"{path}: expected outputs that depend on the image, found one for all")
    if reference is None:
        return  # reported once, for the folder
    tolerance = probability_tolerance(entry.format, entry.card.precision)
    comparison = compare_outputs(rows, reference, tolerance)
    if not comparison.max_difference <= tolerance:  # not `>`, which is False for NaN
        raise VerificationError(
            f"{path}: expected the reference outputs within {tolerance:.2g}, found a difference of "
            f"{comparison.max_difference:.3g} and another class on {comparison.changed} of {len(rows)} images"
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
