"""The oldest runtime that answers a file rightly, after a table that was measured.

A format's own notes say what loads a file, not what answers it: TensorFlow Lite up to 2.9 loads a dense kernel with a
scale for each channel, reads the first, and answers at chance. So `tools/oldest-runtimes` runs files in old releases,
holds their answers against today's, and writes for each operator version the release from which on it is right.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from feredge.inspection import flatbuffer

TABLE_FILE = Path(__file__).with_name("oldest_runtimes.json")
DENSE = "FULLY_CONNECTED"


def measured(path: Path) -> str | None:
    """Return the oldest release that answers a file rightly, `1.14.0`; None where an operator was not measured.

    Of TensorFlow Lite for `.tflite`, else of onnxruntime. A release is the oldest that was tried where that one is
    right already.
    """
    known = table()["operators"].get(path.suffix[1:], {})
    needed = operators(path)
    return max((known[key] for key in needed), key=release) if needed and needed <= known.keys() else None


@functools.cache
def table() -> dict[str, Any]:
    """Return the measured table: `operators` by format and operator version, and the `answers` they follow from."""
    return json.loads(TABLE_FILE.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def release(version: str) -> tuple[int, ...]:
    """Return a version to sort by."""
    return tuple(int(part) for part in version.split("."))


def operators(path: Path) -> set[str]:
    """Return what a runtime must know to answer a file, as the table's keys.

    For `.tflite` each operator with its version and types, `CONV_2D 3 INT8`; for `.onnx` the operator set and whether
    it quantizes; for `.ort` the format's version.
    """
    if path.suffix == ".ort":
        from feredge.inspection.ort_format import open_session

        return {f"format {open_session(path).OrtVersion().decode()}"}
    if path.suffix == ".onnx":
        import onnx

        model = onnx.load(path)
        opset = max(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
        quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
        return {f"opset {opset}{' quantized' if quantized else ''}, IR {model.ir_version}"}
    model = flatbuffer.parse(path.read_bytes())
    pairs = zip(flatbuffer.operator_names(model), model.subgraphs[0].operators, strict=True)
    return {_key(model, kind, operator) for kind, operator in pairs}


def _key(model: Any, kind: str, operator: Any) -> str:
    tensors = model.subgraphs[0].tensors
    inputs = [tensors[index] for index in operator.inputs[:2] if index >= 0]
    types = dict.fromkeys(flatbuffer.type_name(tensor) for tensor in (*inputs, tensors[operator.outputs[0]]))
    words = [kind, str(model.operatorCodes[operator.opcodeIndex].version), *types]
    if kind == DENSE and len(inputs) > 1:
        scales = inputs[1].quantization.scale if inputs[1].quantization is not None else None
        words += ["per-channel"] if scales is not None and len(scales) > 1 else []
    return " ".join(words)
