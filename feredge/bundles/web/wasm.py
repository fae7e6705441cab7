"""The network as WebAssembly modules."""

from __future__ import annotations

from pathlib import Path

from feredge.bundles.native.module_source import module_source
from feredge.bundles.source import Source
from feredge.export.c.compiler import cross_compile

WASM_TRIPLE = "wasm32-freestanding"
LINK_FLAGS = ("-fno-builtin", "-nostdlib", "-Wl,--no-entry", "-Wl,-z,stack-size=65536")
WASM_BUILDS = {
    "relaxed": ("-msimd128", "-mrelaxed-simd"),
    "simd": ("-msimd128",),
    "plain": ("-mcpu=mvp",),
}
"""Compiler flags by WebAssembly features, the fastest first. All give the same bits."""
INTERFACE_FILE = Path(__file__).with_name("wasm.c")


def compile_modules(source: Source) -> dict[str, bytes]:
    """Return the WebAssembly module of each of WASM_BUILDS.

    Raises:
        ArtifactError: a model that the C library does not take, or no compiler.
    """
    code = module_source(source, INTERFACE_FILE)
    return {build: cross_compile(code, WASM_TRIPLE, *LINK_FLAGS, *flags) for build, flags in WASM_BUILDS.items()}
