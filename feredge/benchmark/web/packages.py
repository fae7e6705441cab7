"""The npm packages of the runtimes, in the user's cache folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from feredge.data.cache import make_cache_folder
from feredge.errors import ArtifactError, FeredgeError, one_line
from feredge.programs import ProgramError, first_line, run_program

NPM_PACKAGES = {"@litertjs/core": "2.5.3", "onnxruntime-web": "1.30.0"}
"""Versions by package."""
NPM_OPTIONS = ("--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0")
NPM_TIMEOUT_SECONDS = 300.0


def packages_folder() -> Path:
    """Return the folder that has `node_modules`, in the user's cache folder."""
    return make_cache_folder() / "npm"


def install_package(name: str) -> None:
    """Install a package of NPM_PACKAGES into `packages_folder()`, unless it is there.

    Raises:
        ArtifactError: npm is not installed, or cannot install the package.
    """
    package = f"{name}@{NPM_PACKAGES[name]}"
    try:
        folder = packages_folder()
    except (ImportError, OSError, FeredgeError) as error:
        raise ArtifactError(f"expected a cache folder for {package}, found none ({one_line(error)})") from error
    if _installed_version(folder, name) == NPM_PACKAGES[name]:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise ArtifactError(f"expected npm, which installs {package}, found none")
    folder.mkdir(exist_ok=True)
    command = [npm, "install", *NPM_OPTIONS, "--prefix", str(folder), package]
    try:
        done = run_program(command, timeout_seconds=NPM_TIMEOUT_SECONDS, folder=folder)
    except ProgramError as error:
        raise ArtifactError(f"expected npm to install {package}, found a failure ({error})") from error
    if done.returncode or _installed_version(folder, name) != NPM_PACKAGES[name]:
        raise ArtifactError(f"expected npm to install {package}, found a failure ({first_line(done)})")


def _installed_version(folder: Path, name: str) -> str | None:
    try:
        package = json.loads((folder / "node_modules" / name / "package.json").read_text(encoding="utf-8"))
        return str(package["version"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
