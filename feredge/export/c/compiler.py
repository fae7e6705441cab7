"""The C compiler of this machine, or Zig's from PyPI, and libraries compiled with it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from feredge.errors import ArtifactError

COMPILERS = ("cc", "gcc", "clang")
COMPILE_FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-fPIC", "-shared")
NATIVE_FLAGS = {"x86_64": "-march=native", "AMD64": "-march=native", "aarch64": "-mcpu=native", "arm64": "-mcpu=native"}
"""Of this machine's own instruction set, by its architecture."""
TIMEOUT_SECONDS = 300.0


def find_compiler() -> list[str]:
    """Return the command of a C compiler: the variable CC, else the system's, else Zig's from PyPI.

    Raises:
        ArtifactError: there is none.
    """
    if configured := shlex.split(os.environ.get("CC", "")):
        return configured
    for name in COMPILERS:
        if path := shutil.which(name):
            return [path]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise ArtifactError("expected a C compiler (CC, cc, gcc, clang), found none; pip install 'feredge[c]' brings one")


def has_compiler() -> bool:
    """Return whether `find_compiler` has one."""
    try:
        return bool(find_compiler())
    except ArtifactError:
        return False


def compile_library(source: Path, target: Path, *, native: bool = True) -> None:
    """Compile a C file to a shared library.

    Args:
        native: for this machine's CPU, not any of its architecture.

    Raises:
        ArtifactError: no compiler, or one that fails; the text has the first line of its errors.
    """
    command = [*find_compiler(), *COMPILE_FLAGS]
    if native and platform.machine() in NATIVE_FLAGS:
        command.append(NATIVE_FLAGS[platform.machine()])
    try:
        done = subprocess.run(
            [*command, "-o", str(target), str(source)], capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ArtifactError(f"{source}: expected a C compiler that runs, found {command[0]} ({error})") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or [""]
        raise ArtifactError(f"{source}: expected a C file that compiles, found: {lines[0][:200]}")
