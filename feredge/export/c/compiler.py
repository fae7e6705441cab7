"""The C compiler of this machine, or Zig's from PyPI, and libraries compiled with it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from feredge import files
from feredge.data.cache import make_cache_folder
from feredge.errors import ArtifactError, RunError
from feredge.programs import ProgramError, first_line, run_program

COMPILERS = ("cc", "gcc", "clang")
COMPILE_FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-fPIC", "-shared")
CROSS_COMPILE_FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-fno-sanitize=all", "-s")
ZIG_COMPILER = (sys.executable, "-m", "ziglang", "cc")
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
    if has_zig():
        return [*ZIG_COMPILER]
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
    _run([*command, "-o", str(target), str(source)], str(source))


def cross_compile(code: str, triple: str, *flags: str) -> bytes:
    """Compile and link C code for another machine, by Zig's compiler. The same version gives the same bytes.

    The compiled code stays in the user's cache folder, so that the same code takes no compiler's time again.

    Args:
        code: of one C file.
        triple: of the other machine, in Zig's words: `wasm32-freestanding`.
        flags: beside the optimization and exact arithmetic.

    Raises:
        ArtifactError: Zig's compiler is not installed, or fails; the text has the first line of its errors.
    """
    if not has_zig():
        raise ArtifactError(f"expected Zig's C compiler for {triple}, found none; pip install 'feredge[c]' brings it")
    try:
        parts = (importlib.metadata.version("ziglang"), triple, *CROSS_COMPILE_FLAGS, *flags, code)
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        cached = make_cache_folder() / f"{key}.lib"
        if not cached.is_file():
            compiled = _cross_compile(code, triple, *flags)
            with files.replacing(cached, private=True) as temporary:
                temporary.write_bytes(compiled)
        return cached.read_bytes()
    except (ImportError, RunError, OSError):  # without a private cache folder it is compiled each time
        return _cross_compile(code, triple, *flags)


def _cross_compile(code: str, triple: str, *flags: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="feredge-") as folder:
        Path(folder, "library.c").write_text(code, encoding="utf-8")
        arguments = ["-target", triple, *CROSS_COMPILE_FLAGS, *flags, "-o", "library", "library.c"]
        _run([*ZIG_COMPILER, *arguments], triple, folder=Path(folder))
        return Path(folder, "library").read_bytes()


def has_zig() -> bool:
    """Return whether Zig's compiler from PyPI is installed."""
    return importlib.util.find_spec("ziglang") is not None


def _run(command: list[str], subject: str, *, folder: Path | None = None) -> None:
    try:
        done = run_program(command, timeout_seconds=TIMEOUT_SECONDS, folder=folder)
    except ProgramError as error:
        raise ArtifactError(f"{subject}: expected a C compiler that runs, found that {error}") from error
    if done.returncode:
        raise ArtifactError(f"{subject}: expected a C file that compiles, found: {first_line(done, 'error')}")
