"""The packages that feredge requires, by its own metadata: installed, of an accepted version, and importable."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from feredge.diagnostics.check import Check, import_remedy
from feredge.diagnostics.trial import TrialError, run_code

if TYPE_CHECKING:
    from packaging.requirements import Requirement

EXTRA_PURPOSES = {
    "workshop": "training, export, verification, benchmark and reports",
    "tflite": ".tflite files in the Predictor",
    "serve": "feredge serve",
    "search": "feredge search",
    "torch": "export of PyTorch modules",
    "c": "a C compiler, where the system has none",
    "ios": "feredge bundle --for ios",
    "executorch": "feredge bundle --for executorch",
    "ray": "feredge label --engine ray",
    "heic": "HEIC pictures",
    "parquet": "tables as .parquet",
}
"""What each extra is for; those for the development of feredge are not checked."""
MODULE_NAMES = {"opencv-python": "cv2"}
"""Modules to import, where the name of the package is another."""
OPENCV_DISTRIBUTIONS = (
    *("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
)
"""Distributions with a module `cv2` each: any of them will do, and two overwrite each other's files."""
IMPORT_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class _State:
    """One required package: its requirement, the installed version or None, and what is wrong with it."""

    requirement: Requirement
    version: str | None

    @property
    def problem(self) -> str:
        """Empty if the version is accepted."""
        if self.version is not None and self.requirement.specifier.contains(self.version, prereleases=True):
            return ""
        return f"expected {self.requirement.specifier or 'any version'}, found {self.version or 'none'}"

    @property
    def text(self) -> str:
        """The requirement as pip takes it, without its marker."""
        extras = f"[{','.join(sorted(self.requirement.extras))}]" if self.requirement.extras else ""
        return f"{self.requirement.name}{extras}{self.requirement.specifier}"


def check_packages() -> Iterator[Check]:
    """Yield the checks of Python, of the packages that feredge always needs, and of each extra."""
    yield Check("packages", "python", "ok", f"{platform.python_version()} {platform.python_implementation()}")
    try:
        requirements = list(_requirements())
    except metadata.PackageNotFoundError:
        detail = "expected an installed package, found only its files: the packages that it needs are not known"
        yield Check("packages", "feredge", "failed", detail, "pip install . in the folder of its pyproject.toml")
        return
    except ModuleNotFoundError as error:
        yield Check(
            "packages", str(error.name), "failed", "expected any version, found none", f"pip install {error.name}"
        )
        return
    yield Check("packages", "feredge", "ok", metadata.version("feredge"))
    base = [_state(requirement) for requirement in requirements if _applies(requirement, "")]
    with ThreadPoolExecutor(len(base)) as pool:
        yield from pool.map(_check_package, base)
    yield from _check_opencv()
    for extra, purpose in EXTRA_PURPOSES.items():
        states = [_state(one) for one in requirements if not _applies(one, "") and _applies(one, extra)]
        if states:
            yield _check_extra(extra, purpose, states)


def _requirements() -> Iterator[Requirement]:
    from packaging.requirements import Requirement  # of onnxruntime's own requirements

    for text in metadata.requires("feredge") or ():
        yield Requirement(text)


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _state(requirement: Requirement) -> _State:
    version = _version(requirement.name)
    if version is None and requirement.name in OPENCV_DISTRIBUTIONS:
        version = next(filter(None, map(_version, OPENCV_DISTRIBUTIONS)), None)
    return _State(requirement, version)


def _check_package(state: _State) -> Check:
    name = state.requirement.name
    if state.problem:
        return Check("packages", name, "failed", state.problem, f"pip install '{state.text}'")
    try:
        run_code(f"import {MODULE_NAMES.get(name, name)}", timeout_seconds=IMPORT_TIMEOUT_SECONDS)
    except TrialError as error:
        detail = f"{state.version}: expected a package that can be imported ({error})"
        return Check("packages", name, "failed", detail, import_remedy(name, str(error)))
    return Check("packages", name, "ok", str(state.version))


def _check_opencv() -> Iterator[Check]:
    """Yield a failed check if several distributions of OpenCV are installed."""
    installed = [name for name in OPENCV_DISTRIBUTIONS if _version(name)]
    if len(installed) > 1:
        detail = f"expected one distribution of OpenCV, found {' and '.join(installed)}, which overwrite each other"
        remedy = f"pip uninstall {' '.join(installed)}, then pip install 'opencv-python>=4.10,<5'"
        yield Check("packages", "cv2", "failed", detail, remedy)


def _check_extra(extra: str, purpose: str, states: list[_State]) -> Check:
    """Check the packages of an extra by their metadata only: to import them would take long."""
    problems = [f"{state.requirement.name} {state.problem}" for state in states if state.problem]
    install = f"pip install 'feredge[{extra}]'"
    if not problems:
        return Check("extras", extra, "ok", purpose)
    if all(state.version is None for state in states):
        return Check("extras", extra, "missing", f"would give {purpose}", install)
    return Check("extras", extra, "missing", f"incomplete ({', '.join(problems)}); would give {purpose}", install)
