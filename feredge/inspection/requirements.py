"""Facts of a file that its user asks for before anything runs: size, weights, work, and what can load it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from feredge.errors import ArtifactError
from feredge.inspection import flatbuffer
from feredge.inspection.oldest_runtime import measured
from feredge.inspection.weights import Contents

# From onnxruntime's table of releases: the first that implements an ONNX opset, each of which also reads the IR
# version that came with it.
ONNXRUNTIME = {13: "1.6", 14: "1.8", 15: "1.9", 16: "1.11", 17: "1.12", 18: "1.14", 19: "1.15", 20: "1.17", 21: "1.18"}
INT16, INT16_SINCE = 7, "2.4.0"  # a tensor type of the schema; the first with all of int16x8's kernels
FIRST_WITH_ORT_FORMAT = {"4": "1.8", "5": "1.13", "6": "1.16"}


def of_file(path: Path, inside: Contents) -> dict[str, Any]:
    """Return sparsity, `gzip_bytes`, and the oldest runtime that loads the file."""
    return {
        "sparsity": inside.sparsity,
        "gzip_bytes": len(gzip.compress(path.read_bytes(), compresslevel=9, mtime=0)),
        **oldest_runtime(path),
    }


def oldest_runtime(path: Path) -> dict[str, Any]:
    """Return `oldest_runtime` and the versions inside the file that it follows from.

    It is the oldest release that was seen to answer such a file rightly. Where an operator was never measured, it is
    what the format's makers say and is marked so.

    Raises:
        ArtifactError: not a file of the format that its name says.
    """
    versions, name, stated = _stated(path)
    version = measured(path)
    return {**versions, "oldest_runtime": f"{name} {version}" if version else f"{name} {stated} (not measured)"}


def _stated(path: Path) -> tuple[dict[str, Any], str, str]:
    """Return the versions inside a file, its runtime's name, and the oldest release that should load it."""
    if path.suffix == ".tflite":
        model = flatbuffer.parse(path.read_bytes())
        told = [item for item in model.metadata or [] if item.name == b"min_runtime_version"]
        raw = bytes(bytearray(model.buffers[told[0].buffer].data)) if told else b""
        oldest = raw.rstrip(b"\0").decode() or "1.0.0"
        if any(tensor.type == INT16 for tensor in model.subgraphs[0].tensors):
            oldest = INT16_SINCE  # the converter notes the operators' versions of before it quantized them
        return {"schema": int(model.version)}, "TensorFlow Lite", oldest
    if path.suffix == ".ort":
        from feredge.inspection.ort_format import open_session

        version = open_session(path).OrtVersion().decode()
        return {"ort_format": version}, "onnxruntime", FIRST_WITH_ORT_FORMAT.get(version, "?")
    import onnx

    try:
        model = onnx.load(path)
        opset = max(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    except Exception as error:
        raise ArtifactError(f"{path}: expected an ONNX model, found none") from error
    versions = {"opset": opset, "ir_version": int(model.ir_version)}
    return versions, "onnxruntime", ONNXRUNTIME.get(opset, "?")
