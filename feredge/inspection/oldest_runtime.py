"""The oldest runtime release that runs a model file correctly, looked up in a measured table.

A format's own version says which releases load a file, not which compute it correctly: TensorFlow Lite up to 2.9 loads
a dense kernel with a scale for each channel, reads the first, and its accuracy is that of chance. So
`tools/oldest-runtimes` runs files in old releases, compares their outputs with the current release's, and writes for
each operator version the oldest release that is correct.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from feredge.inspection import flatbuffer

TABLE_FILE = Path(__file__).with_name("oldest_runtimes.json")


def measured_release(path: Path) -> str | None:
    """Return the oldest release that runs a file correctly, `1.14.0`; None where an operator was not measured.

    Of TensorFlow Lite for `.tflite`, else of onnxruntime. Releases older than the oldest measured one are not known.
    """
    releases: dict[str, str] = measured_table()["operators"].get(path.suffix[1:], {})
    required = operators(path)
    if not required or not required <= releases.keys():
        return None
    return max((releases[key] for key in required), key=version_key)


@functools.cache
def measured_table() -> dict[str, Any]:
    """Return the measured table: `operators` by format and operator version, and the `answers` they follow from."""
    return json.loads(TABLE_FILE.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def version_key(version: str) -> tuple[int, ...]:
    """Return a version's numbers, to sort by."""
    return tuple(int(part) for part in version.split("."))


def operators(path: Path) -> set[str]:
    """Return what a runtime must implement to run a file, as the table's keys.

    For `.tflite` each operator with its version and types, `CONV_2D 3 INT8`; for `.onnx` the operator set and whether
    it quantizes; for `.ort` the format's version.
    """
    if path.suffix == ".ort":
        from feredge.inspection.ort_format import read_ort

        return {f"format {read_ort(path).OrtVersion().decode()}"}
    if path.suffix == ".onnx":
        import onnx

        model = onnx.load(path)
        opset = max(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
        quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
        return {f"opset {opset}{' quantized' if quantized else ''}, IR {model.ir_version}"}
    model = flatbuffer.read(path)
    pairs = zip(flatbuffer.operator_names(model), model.subgraphs[0].operators, strict=True)
    return {_tflite_key(model, name, operator) for name, operator in pairs}


def _tflite_key(model: flatbuffer.ModelT, name: str, operator: Any) -> str:
    tensors = model.subgraphs[0].tensors
    inputs = [tensors[index] for index in operator.inputs[:2] if index >= 0]
    types = dict.fromkeys(flatbuffer.type_name(tensor) for tensor in (*inputs, tensors[operator.outputs[0]]))
    parts = [name, str(model.operatorCodes[operator.opcodeIndex].version), *types]
    if name == "FULLY_CONNECTED" and len(inputs) > 1:
        scales = inputs[1].quantization.scale if inputs[1].quantization is not None else None
        parts += ["per-channel"] if scales is not None and len(scales) > 1 else []
    return " ".join(parts)
