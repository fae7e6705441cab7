"""The result of one check, and how to mend a package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "missing", "failed"]
OPENCV_LIBRARIES = "libgl1 libglib2.0-0 libxcb1"
"""Debian's packages that OpenCV's wheels need."""


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        section: `packages`, `extras`, `machine` or `trials`.
        name: what was checked, such as a package.
        status: `failed` if feredge cannot work as installed; `missing` if something optional is not there.
        detail: versions and properties, or the expected and the actual condition.
        remedy: a command or a sentence that mends it; empty if nothing needs to be mended.
    """

    section: str
    name: str
    status: Status
    detail: str
    remedy: str = ""


def import_remedy(distribution: str, failure: str) -> str:
    """Return how to mend a package that is installed and fails when it is imported."""
    if "cannot open shared object file" in failure and distribution.startswith("opencv"):
        return f"apt-get install {OPENCV_LIBRARIES}, or the same libraries of another system"
    if "DLL load failed" in failure:
        return "install Microsoft's Visual C++ Redistributable"
    if "SIGILL" in failure:
        return f"this CPU lacks an instruction set: install a version of {distribution} that is built for it"
    return f"pip install --force-reinstall --no-deps --no-cache-dir {distribution}"
