"""Shared libraries for Arm Linux from a C library, compiled by Zig from PyPI on any machine."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from feredge.errors import ArtifactError, one_line

ARCHITECTURES = {
    "armhf": ("arm-linux-gnueabihf", "cortex_a7"),
    "aarch64": ("aarch64-linux-gnu", "cortex_a53"),
}
"""Zig's target and the oldest CPU, by Debian's and the kernel's name: Raspberry Pi 2 and later, 3 and later."""
FLAGS = (
    "-std=c99",
    "-O3",
    "-ffp-contract=off",
    "-fno-sanitize=all",
    "-g0",
    "-s",
    "-fPIC",
    "-shared",
    "-nostdlib",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
)
"""Without a standard library: memcpy and memset are those of the process that loads the library."""
TIMEOUT_SECONDS = 600.0


def cross_compile(source: str, architecture: str) -> bytes:
    """Return the shared library of a C source for an architecture. The same source gives the same bytes.

    Raises:
        ArtifactError: Zig is missing, or fails.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise ArtifactError("expected Zig to compile for other machines, found none; pip install 'feredge[c]'")
    target, cpu = ARCHITECTURES[architecture]
    with tempfile.TemporaryDirectory(prefix="feredge-") as name:
        folder = Path(name)
        (folder / "library.c").write_text(source, encoding="utf-8")
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target, f"-mcpu={cpu}", *FLAGS]
        command += ["-o", "library.so", "library.c"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ArtifactError(f"expected Zig to compile for {architecture}, found {one_line(error)}") from error
        if done.returncode:
            raise ArtifactError(f"expected C that compiles for {architecture}, found: {done.stderr.strip()[:200]}")
        return (folder / "library.so").read_bytes()
