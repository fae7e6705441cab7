"""Foreign files in the benchmark, which also measures ONNX files whose weights are in files beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feredge.errors import ArtifactError
from feredge.inference.foreign import FOREIGN_SUFFIXES, ForeignRunner
from feredge.inspection.external_data import external_files

FOREIGN_OPENER = "feredge.benchmark.foreign:open_foreign"


def open_foreign(path: Path, *, threads: int = 1, **options: Any) -> ForeignRunner:
    """Open a foreign file, `.onnx` or `.tflite`; `options` are those of ForeignRunner.

    Raises:
        ArtifactError: another suffix, a file that cannot be opened, or weights in other folders, which onnxruntime
            would read.
    """
    if path.suffix not in FOREIGN_SUFFIXES:
        raise ArtifactError(
            f"{path.name}: expected {' or '.join(FOREIGN_SUFFIXES)}, found {path.suffix or 'no suffix'}"
        )
    external_files(path)
    return ForeignRunner(path, threads=threads, **options)
