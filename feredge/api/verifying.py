"""Repeated verification of a folder of exported files, and of a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from feredge.api.dataframe import to_dataframe
from feredge.paths import BundlePath, ExportPath, RunPath, require

if TYPE_CHECKING:
    import pandas

    from feredge.inference.artifact import Failure
    from feredge.inspection.recheck import FileCheck


@dataclass(frozen=True)
class VerifyResult:
    """Result of a verification.

    Attributes:
        checks: the check of each file in the manifest, then other problems of the folder.
        not_exported: the files that failed when the folder was exported.
        skipped: tests of a bundle that cannot run on this machine, with the reason, one line each.
    """

    checks: tuple[FileCheck, ...]
    not_exported: tuple[Failure, ...]
    skipped: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """The problems found, one line each."""
        return tuple(check.failure for check in self.checks if check.failure)

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per file: `file`, `sha256`, `failure`."""
        return to_dataframe(
            ({"file": one.file, "sha256": one.sha256, "failure": one.failure} for one in self.checks),
            ("file", "sha256", "failure"),
        )


def verify(folder: str | PathLike[str]) -> VerifyResult:
    """Check a folder of exported files again: digests, contents, metadata, and outputs on the stored probe images.

    Of a bundle, check that every file is what feredge writes from the model inside it, and run its self-tests: in C on
    this machine's compiler, and in QEMU on others where it is installed.

    Args:
        folder: a folder of exported files, a name of `feredge.models()`, a run folder, or a bundle.

    Raises:
        RunError: another path.
        ArtifactError: a manifest that is damaged or lists no files.
    """
    from feredge.inference.artifact import Manifest
    from feredge.inspection.recheck import recheck

    place = require(folder, ExportPath, RunPath, BundlePath)
    if isinstance(place, BundlePath):
        return _verify_bundle(place.path)
    path = place.run.artifacts if isinstance(place, RunPath) else place.path
    checks = recheck(path)
    return VerifyResult(checks, Manifest.read(path, check=False).failures)


def _verify_bundle(folder: Path) -> VerifyResult:
    from feredge.bundles.targets import check_bundle
    from feredge.inspection.recheck import FileCheck

    checks, tests = check_bundle(folder)
    failed = [FileCheck(test.name, "", f"{folder}: {test.name}: {test.failure}") for test in tests if test.failure]
    passed = [FileCheck(test.name, "") for test in tests if not test.failure and not test.skipped]
    skipped = tuple(f"{test.name}: {test.skipped}" for test in tests if test.skipped)
    return VerifyResult((*checks, *passed, *failed), (), skipped)
