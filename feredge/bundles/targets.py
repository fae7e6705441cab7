"""The table of targets, and what all of them share: writing a bundle, and checking one."""

from __future__ import annotations

import importlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

import feredge
from feredge.bundles.folder import OWNER_FOLDER, BundleManifest, Contents, check_replaceable, differences, write_bundle
from feredge.bundles.golden import Golden, golden_vectors
from feredge.bundles.options import BundleOptions
from feredge.bundles.source import FLOAT32_ONNX, INT8_ONNX, INT8_TFLITE, Source, SourceKind, open_source
from feredge.errors import ArtifactError, FeredgeError, MissingPackageError
from feredge.inspection.probes import compare_outputs, probability_tolerance
from feredge.inspection.recheck import FileCheck


class SelfTest(NamedTuple):
    """A test of a bundle on this machine.

    Attributes:
        name: what ran, and where.
        failure: empty where it passed, else one line.
        skipped: why it could not run here; else empty.
    """

    name: str
    failure: str = ""
    skipped: str = ""


class TargetModule(Protocol):
    """A target's module."""

    def build(self, source: Source, golden: Golden, options: BundleOptions) -> Contents:
        """Return the bundle's files, among them the source file's bytes. The same arguments give the same bytes."""
        ...

    def self_tests(self, folder: Path, source: Source, golden: Golden) -> list[SelfTest]:
        """Run what this machine can of an unchanged bundle, against its golden vectors."""
        ...


@dataclass(frozen=True)
class Target:
    """A row of TARGETS.

    Attributes:
        module: a `TargetModule`, imported when it is used.
        summary: in help.
        options: the fields of BundleOptions that it takes.
        sources: the kinds of file that it is made from, of a folder the first that it has.
    """

    module: str
    summary: str
    options: tuple[str, ...] = ()
    sources: tuple[SourceKind, ...] = (INT8_TFLITE,)

    def load(self) -> TargetModule:
        """Import the module."""
        return importlib.import_module(self.module)  # type: ignore[return-value]


TARGETS = {
    "executorch": Target(
        "feredge.bundles.executorch.contents",
        "a .pte program for ExecuTorch's XNNPACK backend",
        sources=(INT8_ONNX, FLOAT32_ONNX),
    ),
    "mcu": Target(
        "feredge.bundles.mcu.contents",
        "a C library for microcontrollers, with CMake and Arduino",
        ("arithmetic", "board"),
    ),
    "android": Target("feredge.bundles.android.contents", "a library for Android, with Java and Kotlin"),
    "ios": Target(
        "feredge.bundles.ios.contents",
        "a Core ML package with a Swift class, for iOS and macOS",
        sources=(FLOAT32_ONNX,),
    ),
    "pi": Target("feredge.bundles.pi.contents", "compiled libraries for Arm Linux, which need numpy alone"),
    "web": Target("feredge.bundles.web.contents", "a web page and an ES module, in WebAssembly"),
}


def bundle(target: str, model: str | os.PathLike[str], out: Path, options: BundleOptions | None = None) -> Path:
    """Write the bundle of a model for a target to the folder `out`, and return it.

    Args:
        target: a name of TARGETS.
        model: see `open_source`.
        out: nothing, an empty folder, or an earlier bundle, which is replaced.

    Raises:
        ArtifactError: an unknown target, an option that it does not take, or a model that it cannot take.
        RunError: `out` holds something else.
    """
    options = options or BundleOptions()
    _require_target(target)
    for name, value in asdict(options).items():
        if name not in TARGETS[target].options and value != getattr(BundleOptions(), name):
            raise ArtifactError(f"expected options of --for {target}, found --{name} {value!s:.40}")
    check_replaceable(out.resolve())
    source = open_source(model, *TARGETS[target].sources)
    golden = golden_vectors(source, options.arithmetic)
    contents = TARGETS[target].load().build(source, golden, options)
    write_bundle(
        out, contents, BundleManifest.of(contents, target=target, source=source, options=options, golden=golden)
    )
    return out


def _require_target(name: str) -> None:
    if name not in TARGETS:
        raise ArtifactError(f"expected a target among {', '.join(TARGETS)}, found {name!r:.40}")


def check_bundle(folder: Path) -> tuple[list[FileCheck], list[SelfTest]]:
    """Check a bundle: digests, then that every file is what feredge writes, golden vectors, and the self-tests.

    No code of a bundle runs before it was compared with what this version of feredge writes from the source file.
    Without a package that writing it takes, only digests and golden vectors are checked.

    Raises:
        ArtifactError: no manifest, or a damaged one.
    """
    manifest = BundleManifest.read(folder)
    changed = list(differences(folder, manifest, ignored=OWNER_FOLDER if manifest.target == "web" else ""))
    checks = [FileCheck("bundle.json", "", problem) for problem in changed]
    if changed:
        return checks, []
    tests: list[SelfTest] = []
    try:
        source, golden = _restore(folder, manifest)
        tests += [_check_golden(source, golden)]
        _require_rebuilt(manifest, source, golden)
        tests += TARGETS[manifest.target].load().self_tests(folder, source, golden)
    except MissingPackageError as error:
        tests.append(SelfTest("the bundle's other files and its self-tests", skipped=str(error)))
    except FeredgeError as error:
        return [FileCheck("bundle.json", "", f"{folder}: {error}")], []
    return [FileCheck(name, sha256) for name, sha256 in manifest.files.items()], tests


def _restore(folder: Path, manifest: BundleManifest) -> tuple[Source, Golden]:
    """Return a bundle's source file, and the golden vectors of its manifest."""
    _require_target(manifest.target)
    origin = [name for name, sha256 in manifest.files.items() if sha256 == manifest.source.sha256]
    if not origin:
        raise ArtifactError("expected the file that the bundle was made from, found none")
    source = open_source(folder / origin[0], *TARGETS[manifest.target].sources)
    return source, Golden.restore(manifest.golden, source.card.contract, len(source.card.classes))


def _require_rebuilt(manifest: BundleManifest, source: Source, golden: Golden) -> None:
    """Build a bundle again from its source file; ArtifactError if other files come."""
    contents = TARGETS[manifest.target].load().build(source, golden, manifest.options)
    rebuilt = BundleManifest.of(
        contents, target=manifest.target, source=source, options=manifest.options, golden=golden
    ).files
    for name in sorted({*rebuilt, *manifest.files}):
        if rebuilt.get(name) != manifest.files.get(name):
            raise ArtifactError(
                f"expected the {name} that feredge {feredge.__version__} writes, found another, of "
                f"{manifest.version!s:.20} or not of feredge; write the bundle again"
            )


def _check_golden(source: Source, golden: Golden) -> SelfTest:
    """Compare a bundle's golden vectors with the reference runtime's answers here."""
    name = f"golden vectors of {golden.runtime}"
    try:
        recomputed = golden_vectors(source, "tflm" if golden.arithmetic == "tflm" else "xnnpack")
    except ArtifactError as error:
        return SelfTest(name, skipped=str(error))
    tolerance = probability_tolerance(source.format, source.card.precision)
    difference = compare_outputs(recomputed.probabilities, golden.probabilities, tolerance).max_difference
    if not difference <= tolerance or not np.isfinite(difference):
        return SelfTest(
            name, f"expected {recomputed.runtime}'s answers within {tolerance:.2g}, found {difference:.3g} more"
        )
    return SelfTest(name)
