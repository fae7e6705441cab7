"""A `.c` artifact behind the runner interface: checked, compiled for this machine, and loaded."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import suppress
from pathlib import Path

from feredge import files
from feredge.data.cache import make_cache_folder
from feredge.errors import FeredgeError
from feredge.export.c.artifact_file import check_c_artifact
from feredge.export.c.compiler import COMPILE_FLAGS, compile_library, find_compiler
from feredge.inference.shared_library import SharedLibraryRunner
from feredge.inference.system_info import CPUINFO_PATH, cpu_flags, read_fields


def open_c_library(path: Path, *, threads: int = 1) -> SharedLibraryRunner:
    """Compile a `.c` artifact and load it. It runs on one thread; `threads` is ignored.

    The compiled library stays in the user's cache folder, so that opening it again takes no compiler's time.

    Raises:
        ArtifactError: other code than feredge generates, or no compiler.
    """
    del threads
    card, library = check_c_artifact(path)
    arena_bytes = library.arena.bytes
    with suppress(ImportError, FeredgeError, OSError):  # without a private cache folder it is compiled each time
        cached = make_cache_folder() / f"{_build_digest(path)}.so"
        if not cached.is_file():
            with files.replacing(cached, private=True) as temporary:
                compile_library(path, temporary)
        return SharedLibraryRunner(cached, card, path=path, arena_bytes=arena_bytes)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "library.so")
        compile_library(path, target)
        return SharedLibraryRunner(target, card, path=path, arena_bytes=arena_bytes)


def _build_digest(path: Path) -> str:
    """Return a digest of all that a compiled library depends on: source, compiler, flags and CPU."""
    cpu = f"{read_fields(CPUINFO_PATH).get('model name', '')} {sorted(cpu_flags())}"
    parts = (files.sha256(path), *find_compiler(), *COMPILE_FLAGS, cpu)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
