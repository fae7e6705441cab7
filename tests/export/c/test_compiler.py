"""Compilation for other machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from feredge.errors import ArtifactError
from feredge.export.c import compiler

needs_zig = pytest.mark.skipif(not compiler.has_zig(), reason="ziglang is not installed")
LINK_FLAGS = ("-nostdlib", "-Wl,--no-entry")


@needs_zig
def test_compiled_code_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards bundles that are written again, by which each is verified: the same code takes no compiler."""
    monkeypatch.setenv("FEREDGE_CACHE", str(tmp_path / "cache"))
    first = compiler.cross_compile("int one(void) { return 1; }", "wasm32-freestanding", *LINK_FLAGS)
    monkeypatch.setattr(compiler, "run_program", lambda *_, **__: pytest.fail("a compiler ran"))
    assert compiler.cross_compile("int one(void) { return 1; }", "wasm32-freestanding", *LINK_FLAGS) == first
    assert first.startswith(b"\0asm") and [path.stat().st_mode & 0o777 for path in (tmp_path / "cache").iterdir()] == [
        0o600
    ]


@needs_zig
def test_code_that_does_not_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the line of a compiler's error, and that nothing is cached; likewise without a private cache folder."""
    monkeypatch.setenv("FEREDGE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ArtifactError, match="expected a C file that compiles, found"):
        compiler.cross_compile("int one(", "wasm32-freestanding", *LINK_FLAGS)
    assert not list((tmp_path / "cache").iterdir())
    (tmp_path / "cache").chmod(0o755)
    with pytest.raises(ArtifactError, match="expected a C file that compiles, found"):
        compiler.cross_compile("int one(", "wasm32-freestanding", *LINK_FLAGS)
