"""Conversion of ONNX to ORT format, for mobile builds of onnxruntime with the required operators only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from feredge.inspection.ort_format import sort_kernel_types

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

DISABLED_OPTIMIZERS = ["NchwcTransformer"]  # writes a kernel layout for this CPU's vector width, absent on ARM


def to_ort(model: bytes) -> bytes:
    """Return an ONNX file in ORT format, with all graph optimizations that run on any CPU.

    onnxruntime optimizes the graph when it writes this format, not when it loads it.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.ort")
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(path)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        options.add_session_config_entry("session.save_model_format", "ORT")
        onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], disabled_optimizers=DISABLED_OPTIMIZERS
        )
        return sort_kernel_types(path.read_bytes())


def required_operators(paths: list[Path]) -> str:
    """Return the operators that `.ort` files need, in the format of onnxruntime's `--include_ops_by_config`.

    One line per domain and opset: `ai.onnx;13;Conv,Softmax`.
    """
    from onnxruntime.tools.ort_format_model.ort_model_processor import OrtFormatModelProcessor

    operators: dict[str, dict[int, set[str]]] = {}
    for path in paths:
        OrtFormatModelProcessor(str(path), operators, None).process()
    lines = [
        f"{domain};{opset};{','.join(sorted(types))}"
        for domain, opsets in sorted(operators.items())
        for opset, types in sorted(opsets.items())
    ]
    return "".join(f"{line}\n" for line in lines)
