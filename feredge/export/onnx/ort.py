"""ONNX to onnxruntime's own format, for mobile builds that hold the needed operators only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from feredge.inspection.ort_format import sort_kernel_types

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

NOT_PORTABLE = ["NchwcTransformer"]  # lays kernels out for this CPU's vectors; ARM has no such kernels


def to_ort(model: bytes) -> bytes:
    """Return an ONNX file in ORT format, optimised as far as any CPU may run it.

    onnxruntime folds and fuses when it writes this format, not when it loads it.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "model.ort")
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(written)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        options.add_session_config_entry("session.save_model_format", "ORT")
        onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], disabled_optimizers=NOT_PORTABLE
        )
        return sort_kernel_types(written.read_bytes())


def required_operators(paths: list[Path]) -> str:
    """Return the operators that `.ort` files need, as `--include_ops_by_config` of an onnxruntime build takes them.

    One line a domain and opset: `ai.onnx;13;Conv,Softmax`.
    """
    from onnxruntime.tools.ort_format_model.ort_model_processor import OrtFormatModelProcessor

    needed: dict[str, dict[int, set[str]]] = {}
    for path in paths:
        OrtFormatModelProcessor(str(path), needed, None).process()
    lines = [
        f"{domain};{opset};{','.join(sorted(kinds))}"
        for domain, opsets in sorted(needed.items())
        for opset, kinds in sorted(opsets.items())
    ]
    return "".join(f"{line}\n" for line in lines)
