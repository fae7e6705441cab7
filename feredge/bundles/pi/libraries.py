"""Shared libraries for Arm Linux from a C library, compiled by Zig from PyPI on any machine."""

from __future__ import annotations

from feredge.errors import ArtifactError
from feredge.export.c.compiler import cross_compile, has_zig

ARCHITECTURES = {
    "armhf": ("arm-linux-gnueabihf", "cortex_a7"),
    "aarch64": ("aarch64-linux-gnu", "cortex_a53"),
}
"""Zig's target and the oldest CPU, by Debian's and the kernel's name: Raspberry Pi 2 and later, 3 and later."""
LIBRARY_FLAGS = (
    *("-g0", "-fPIC", "-shared", "-nostdlib"),
    *("-fno-unwind-tables", "-fno-asynchronous-unwind-tables"),
)
"""Without a standard library: memcpy and memset are those of the process that loads the library."""


def compile_library(code: str, architecture: str) -> bytes:
    """Return the shared library of a C library for an architecture. The same code gives the same bytes.

    Raises:
        ArtifactError: Zig is missing, or fails.
    """
    if not has_zig():
        raise ArtifactError("expected Zig to compile for other machines, found none; pip install 'feredge[c]'")
    triple, cpu = ARCHITECTURES[architecture]
    return cross_compile(code, triple, f"-mcpu={cpu}", *LIBRARY_FLAGS)
