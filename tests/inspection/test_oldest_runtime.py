"""The oldest runtime of a file, after the table that was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from feredge.inspection import flatbuffer, oldest_runtime, requirements

MODELS = Path(__file__).parents[2] / "models"


@pytest.mark.parametrize("network", ["nano", "small", "base"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_shipped_tflite_files_are_measured(network: str, precision: str) -> None:
    """Guards a table that no longer fits the files: each operator of each was seen to answer right before 2.10."""
    path = MODELS / network / f"dense.{precision}.tflite"
    version = oldest_runtime.measured_release(path)
    assert version is not None and oldest_runtime.version_key(version) < (2, 10)
    assert requirements.oldest_runtime(path)["oldest_runtime"] == f"TensorFlow Lite {version}"


def test_a_scale_for_each_dense_channel_needs_a_newer_runtime(tmp_path: Path) -> None:
    """Guards int8 files that TensorFlow Lite up to 2.9 answers at chance: it reads the first of a kernel's scales."""
    shipped = MODELS / "nano" / "dense.int8.tflite"
    assert "FULLY_CONNECTED 4 INT8" in oldest_runtime.operators(shipped)
    model = flatbuffer.parse(shipped.read_bytes())
    pairs = zip(flatbuffer.operator_names(model), model.subgraphs[0].operators, strict=True)
    (dense,) = [operator for kind, operator in pairs if kind == "FULLY_CONNECTED"]
    scales = model.subgraphs[0].tensors[dense.inputs[1]].quantization
    scales.scale, scales.zeroPoint = [float(scales.scale[0])] * 7, [0] * 7
    path = tmp_path / "many-scales.tflite"
    path.write_bytes(flatbuffer.pack(model))
    assert oldest_runtime.measured_release(path) == "2.10.0"


def test_what_was_not_measured_is_said_to_be_so(tmp_path: Path) -> None:
    """Guards a claim without evidence: an operator version that is not in the table."""
    model = flatbuffer.parse((MODELS / "nano" / "dense.int8.tflite").read_bytes())
    model.operatorCodes[0].version = 99
    path = tmp_path / "new.tflite"
    path.write_bytes(flatbuffer.pack(model))
    assert oldest_runtime.measured_release(path) is None
    assert requirements.oldest_runtime(path)["oldest_runtime"].endswith("(not measured)")
