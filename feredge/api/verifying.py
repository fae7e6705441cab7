"""Checking an exported folder again."""

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
    """What was checked.

    Attributes:
        checks: every file of the manifest, then what else is wrong in the folder.
        not_exported: the files that failed when the folder was exported.
    """

    checks: tuple[FileCheck, ...]
    not_exported: tuple[Failure, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """What is wrong, one line each."""
        return tuple(check.failure for check in self.checks if check.failure)

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a row a file: `file`, `sha256`, `failure`."""
        return to_dataframe(
            ({"file": one.file, "sha256": one.sha256, "failure": one.failure} for one in self.checks),
            ("file", "sha256", "failure"),
        )


def verify(folder: str | PathLike[str]) -> VerifyResult:
    """Check an exported folder again: digests, contents, metadata, and outputs on the stored probe images.

    Args:
        folder: a folder of exported files, a name of `feredge.models()`, or a run folder.

    Raises:
        RunError: another path.
        ArtifactError: a manifest that is damaged or names nothing.
    """
    from feredge.inference.artifact import Manifest
    from feredge.inspection.recheck import recheck

    place = require(folder, ExportPath, RunPath)
    path = place.run.artifacts if isinstance(place, RunPath) else place.path
    checks = recheck(path)
    return VerifyResult(checks, Manifest.read(path, check=False).failures)
