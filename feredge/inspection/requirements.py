"""Facts of a model file for its card: sparsity, compressed size, and the oldest runtime that runs it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from feredge.errors import ArtifactError
from feredge.inference.c_source import c_library_memory
from feredge.inspection import flatbuffer
from feredge.inspection.oldest_runtime import measured_release
from feredge.inspection.weights import StoredTensors

# From onnxruntime's table of releases: the first that implements an ONNX opset, each of which also reads the IR
# version that came with it.
RELEASE_OF_OPSET = {
    13: "1.6", 14: "1.8", 15: "1.9", 16: "1.11", 17: "1.12", 18: "1.14", 19: "1.15", 20: "1.17", 21: "1.18",
}  # fmt: skip
RELEASE_OF_ORT_FORMAT = {"4": "1.8", "5": "1.13", "6": "1.16"}
INT16X8_RELEASE = "2.4.0"  # the first with all of int16x8's kernels


def of_file(path: Path, stored: StoredTensors) -> dict[str, Any]:
    """Return sparsity, `gzip_bytes`, and the oldest runtime of a file whose tensors are `stored`.

    Of a C library `arena_bytes`, its memory, and `constant_bytes`, its weights and tables, instead of a runtime.
    """
    return {
        "sparsity": stored.sparsity,
        "gzip_bytes": len(gzip.compress(path.read_bytes(), compresslevel=9, mtime=0)),
        **(c_library_memory(path.read_bytes()) if path.suffix == ".c" else oldest_runtime(path)),
    }


def oldest_runtime(path: Path) -> dict[str, Any]:
    """Return `oldest_runtime` and the format versions in the file.

    It is the oldest release that was measured to run such a file correctly; where an operator was not measured, the
    oldest that the format's documentation declares, marked as not measured.

    Raises:
        ArtifactError: not a file of the format that its name says.
    """
    versions, runtime, declared = _declared_release(path)
    measured = measured_release(path)
    return {
        **versions,
        "oldest_runtime": f"{runtime} {measured}" if measured else f"{runtime} {declared} (not measured)",
    }


def _declared_release(path: Path) -> tuple[dict[str, Any], str, str]:
    """Return the format versions in a file, its runtime's name, and the oldest release documented to load it."""
    if path.suffix == ".tflite":
        model = flatbuffer.read(path)
        entries = [item for item in model.metadata or [] if item.name == b"min_runtime_version"]
        raw = bytes(bytearray(model.buffers[entries[0].buffer].data)) if entries else b""
        release = raw.rstrip(b"\0").decode() or "1.0.0"
        if any(flatbuffer.type_name(tensor) == "INT16" for tensor in model.subgraphs[0].tensors):
            release = INT16X8_RELEASE  # the converter writes the operators' versions from before quantization
        return {"schema": int(model.version)}, "TensorFlow Lite", release
    if path.suffix == ".ort":
        from feredge.inspection.ort_format import read_ort

        version = read_ort(path).OrtVersion().decode()
        return {"ort_format": version}, "onnxruntime", RELEASE_OF_ORT_FORMAT.get(version, "?")
    import onnx

    try:
        model = onnx.load(path)
        opset = max(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    except Exception as error:
        raise ArtifactError(f"{path}: expected an ONNX model, found none") from error
    versions = {"opset": opset, "ir_version": int(model.ir_version)}
    return versions, "onnxruntime", RELEASE_OF_OPSET.get(opset, "?")
