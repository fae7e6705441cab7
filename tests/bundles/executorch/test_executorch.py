"""The ExecuTorch bundle: its program, run in ExecuTorch, answers as onnxruntime does to the file it was made from."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from colour_network import colour_network

from feredge.bundles.executorch.contents import PROGRAM_FILE, self_tests
from feredge.bundles.executorch.program import predict, program_file
from feredge.bundles.folder import BundleManifest, write_bundle
from feredge.bundles.golden import Golden, golden_vectors
from feredge.bundles.options import BundleOptions
from feredge.bundles.source import FLOAT32_ONNX, INT8_ONNX, open_source
from feredge.bundles.targets import bundle, check_bundle
from feredge.cli import main
from feredge.errors import UnsupportedNetworkError
from feredge.inference.artifact import Manifest
from feredge.inference.runtimes import onnx_session

NANO = Path(__file__).parents[3] / "models/nano"
HAS_EXECUTORCH = all(importlib.util.find_spec(name) for name in ("torch", "executorch", "onnx"))
needs_executorch = pytest.mark.skipif(not HAS_EXECUTORCH, reason="executorch or torch is not installed")


@needs_executorch
@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_bundle_and_verify(precision: str, tmp_path: Path) -> None:
    """Guards the answers of the program, in both precisions, and that another process writes the same bytes."""
    folder = bundle("executorch", NANO / f"dense.{precision}.onnx", tmp_path / "nano")
    checks, tests = check_bundle(folder)
    assert not [check.failure for check in checks if check.failure]
    assert not [test for test in tests if test.failure or test.skipped], tests
    assert "32 of 32 rows within 1e-06" in tests[-1].name  # int8: the same integers
    assert f"in {precision}, written by executorch" in (folder / "README.md").read_text()
    assert BundleManifest.read(folder).golden.runtime.startswith("onnxruntime ")


@needs_executorch
def test_other_answers_are_found(tmp_path: Path) -> None:
    """Guards the comparison: answers of another network fail, and a damaged program is one line."""
    source = open_source(NANO, INT8_ONNX)
    golden = golden_vectors(source)
    (tmp_path / PROGRAM_FILE).write_bytes(program_file(source))
    wrong = Golden(golden.images, golden.probabilities[::-1].copy(), golden.arithmetic, golden.runtime)
    (failed,) = self_tests(tmp_path, source, wrong)
    assert "expected 0.03, found probabilities within" in failed.failure
    (tmp_path / PROGRAM_FILE).write_bytes(b"no program")
    (failed,) = self_tests(tmp_path, source, golden)
    assert PROGRAM_FILE in failed.failure


OPERATORS = {
    "pooling": [
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [1, 1, 1, 1]}),
    ],
    "activations": [
        ("Sigmoid", {}),
        ("LeakyRelu", {"alpha": 0.3}),
        ("Tanh", {}),
        ("HardSigmoid", {}),
        ("HardSwish", {}),
    ],
}


@needs_executorch
@pytest.mark.parametrize("operators", OPERATORS.values(), ids=OPERATORS)
def test_operators_as_in_onnxruntime(operators: list[tuple[str, dict[str, Any]]], tmp_path: Path) -> None:
    """Guards each translation, with colour, groups, dilations and one-sided padding."""
    source = colour_network(operators)
    images = np.random.default_rng(2).integers(0, 256, (3, 14, 10, 3), np.uint8)
    session = onnx_session(source.data, threads=1)
    expected = np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])
    (tmp_path / PROGRAM_FILE).write_bytes(program_file(source))
    outputs = predict(tmp_path / PROGRAM_FILE, images)
    # XNNPACK approximates the exponentials of sigmoid and tanh
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


@needs_executorch
@pytest.mark.parametrize(
    ("operators", "message"),
    [
        (
            [("Einsum", {"equation": "nchw->nchw"})],
            "that the ExecuTorch target has, found Einsum",
        ),
        ([("MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1})], "partial windows"),
        ([("AveragePool", {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]})], "one-sided padding that is not counted"),
    ],
)
def test_networks_without_a_translation(operators: list[tuple[str, dict[str, Any]]], message: str) -> None:
    """Guards one line for a network of other operators, instead of another network."""
    with pytest.raises(UnsupportedNetworkError, match=message):
        program_file(colour_network(operators))


@pytest.mark.skipif(HAS_EXECUTORCH, reason="executorch is installed")
def test_without_executorch(tmp_path: Path) -> None:
    """Guards the line that says what to install; nothing is written."""
    done = CliRunner().invoke(main, ["bundle", str(NANO), "--for", "executorch", "--out", str(tmp_path / "out")])
    assert done.exit_code == 2 and "pip install 'feredge[executorch]' (tested: executorch 1.4.0" in done.output
    assert not list(tmp_path.iterdir())


def test_verify_without_executorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards `verify` on other machines: digests and golden vectors are checked, and what cannot run is said."""
    source = open_source(NANO, INT8_ONNX, FLOAT32_ONNX)
    golden, options = golden_vectors(source), BundleOptions()
    contents = {source.name: source.data, PROGRAM_FILE: b"a program"}
    manifest = BundleManifest.of(contents, target="executorch", source=source, options=options, golden=golden)
    write_bundle(tmp_path / "nano", contents, manifest)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["verify", str(tmp_path / "nano")])
    assert done.exit_code == 0 and "verified: 2 files, 1 tests" in done.output
    assert "not run here: the bundle's other files and its self-tests: expected torch" in done.output
    (tmp_path / "nano" / PROGRAM_FILE).write_bytes(b"another")
    assert CliRunner().invoke(main, ["verify", str(tmp_path / "nano")]).exit_code == 1


@pytest.mark.parametrize(("name", "found"), [("dense.int8.tflite", "found a .tflite file"), ("dense.int8.ort", ".ort")])
def test_other_files_are_refused(name: str, found: str, tmp_path: Path) -> None:
    """Guards against files of other formats."""
    words = ["bundle", str(NANO / name), "--for", "executorch", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2 and "expected an int8 or float32 .onnx file" in done.output and found in done.output


def test_a_folder_without_int8_gives_its_float32_file(tmp_path: Path) -> None:
    """Guards the order of the kinds of source: int8 first, then float32."""
    assert open_source(NANO, INT8_ONNX, FLOAT32_ONNX).name == "dense.int8.onnx"
    manifest = Manifest.read(NANO, check=False)
    entries = tuple(entry for entry in manifest.entries if entry.file == "dense.float32.onnx")
    shutil.copy(NANO / entries[0].file, tmp_path)
    replace(manifest, entries=entries).write(tmp_path)
    assert open_source(tmp_path, INT8_ONNX, FLOAT32_ONNX).name == "dense.float32.onnx"
