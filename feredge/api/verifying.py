"""Repeated verification of a folder of exported files."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

from feredge.api.dataframe import to_dataframe
from feredge.paths import ExportPath, RunPath, require

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
    """

    checks: tuple[FileCheck, ...]
    not_exported: tuple[Failure, ...]

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

    Args:
        folder: a folder of exported files, a name of `feredge.models()`, or a run folder.

    Raises:
        RunError: another path.
        ArtifactError: a manifest that is damaged or lists no files.
    """
    from feredge.inference.artifact import Manifest
    from feredge.inspection.recheck import recheck

    place = require(folder, ExportPath, RunPath)
    path = place.run.artifacts if isinstance(place, RunPath) else place.path
    checks = recheck(path)
    return VerifyResult(checks, Manifest.read(path, check=False).failures)
