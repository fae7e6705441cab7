"""The iOS bundle: its Core ML program, run in numpy, answers as onnxruntime; its C code makes the Predictor's input."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from colour_network import colour_network

from feredge.bundles.folder import BundleManifest
from feredge.bundles.golden import Golden, golden_vectors
from feredge.bundles.ios import contents
from feredge.bundles.ios.contents import PACKAGE_FOLDER, self_tests
from feredge.bundles.ios.interpreter import Program
from feredge.bundles.ios.package import SPECIFICATION_FILE, WEIGHTS_FILE, package_files
from feredge.bundles.source import FLOAT32_ONNX, Source, open_source
from feredge.bundles.targets import bundle, check_bundle
from feredge.cli import main
from feredge.errors import ArtifactError
from feredge.export.c.compiler import compile_library, has_compiler
from feredge.inference.contract import InputContract
from feredge.inference.face_detection import crop_square
from feredge.inference.runtimes import onnx_session

NANO = Path(__file__).parents[3] / "models/nano"
HAS_COREMLTOOLS = importlib.util.find_spec("coremltools") is not None
needs_coremltools = pytest.mark.skipif(not HAS_COREMLTOOLS, reason="coremltools is not installed")


@pytest.fixture(scope="module")
def ios(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `models/nano`; do not change it."""
    if not HAS_COREMLTOOLS:
        pytest.skip("coremltools is not installed")
    return bundle("ios", NANO, tmp_path_factory.mktemp("ios") / "nano")


def test_verify(ios: Path) -> None:
    """Guards the answers of the program that was really written, in its stated precision."""
    checks, tests = check_bundle(ios)
    assert not [check.failure for check in checks if check.failure]
    assert not [test for test in tests if test.failure or test.skipped], tests
    assert "in float16, interpreted by numpy: probabilities within 0.00" in tests[-1].name
    assert BundleManifest.read(ios).golden.runtime.startswith("onnxruntime ")


def test_another_process_writes_the_same_bytes(ios: Path, tmp_path: Path) -> None:
    """Guards `verify`, which writes the bundle again: no date, random identifier or order of a hash is in it."""
    words = [sys.executable, "-m", "feredge", "bundle", str(NANO), "--for", "ios", "--out", str(tmp_path / "again")]
    subprocess.run(words, check=True, capture_output=True, cwd=Path(__file__).parents[3])
    assert BundleManifest.read(tmp_path / "again") == BundleManifest.read(ios)


def test_changed_weights_are_found(ios: Path, tmp_path: Path) -> None:
    """Guards that the comparison reads the package: other weights give other answers, cut ones a line."""
    folder = Path(shutil.copytree(ios, tmp_path / "changed"))
    path = folder / PACKAGE_FOLDER / WEIGHTS_FILE
    data = bytearray(path.read_bytes())
    data[-64:] = np.full(32, 5, np.float16).tobytes()
    path.write_bytes(data)
    source = open_source(NANO, FLOAT32_ONNX)
    golden = _golden(ios, source)
    (failed,) = self_tests(folder, source, golden)
    assert "expected 0.02, found probabilities within" in failed.failure
    path.write_bytes(data[:-64])
    (failed,) = self_tests(folder, source, golden)
    assert "weight.bin: expected" in failed.failure
    checks, _ = check_bundle(folder)
    assert "found a changed one" in checks[0].failure
    with pytest.raises(ArtifactError, match="expected a Core ML program, found a damaged one"):
        Program(b"\xff", b"")


def _golden(folder: Path, source: Source) -> Golden:
    return Golden.restore(BundleManifest.read(folder).golden, source.card.contract, 7)


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """The sources of the bundle of `models/nano`, which need no coremltools."""
    source = open_source(NANO, FLOAT32_ONNX)
    return contents.source_texts(source, golden_vectors(source))


@pytest.mark.skipif(not has_compiler(), reason="no C compiler")
def test_input_of_the_c_code(texts: dict[str, str], tmp_path: Path) -> None:
    """Guards the input that Swift gets from C: crop, gray and size as the Predictor makes them."""
    source = tmp_path / "input.c"
    header, code = (texts[f"{contents.C_FOLDER}/{name}"] for name in ("include/feredge_input.h", "input.c"))
    source.write_text(header + code.replace('#include "feredge_input.h"', ""))
    compile_library(source, tmp_path / "input.so")
    make_input = ctypes.CDLL(str(tmp_path / "input.so")).feredge_make_input
    picture = np.random.default_rng(5).integers(0, 256, (90, 70, 4), np.uint8)
    crop, found = np.empty((200, 200), np.uint8), np.empty((48, 48, 1), np.uint8)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (picture, crop, found)]
    for box, pixels in (
        ((0, 0, 70, 90), picture),
        ((44, -5, 41, 41), crop_square(picture, (50, -5, 30, 41))),
    ):
        make_input(pointers[0], 90, 70, *box, *pointers[1:])
        np.testing.assert_array_equal(found, InputContract().to_batch([pixels], color="rgb")[0])


def test_swift_sources_are_filled(texts: dict[str, str]) -> None:
    """Guards names and sizes in Swift."""
    text = texts[f"{contents.SWIFT_FOLDER}/Net.swift"]
    assert 'classes: [String] = ["angry", "disgust"' in text and "height = 48" in text
    assert "No Mac and no iPhone has run this bundle" in texts["README.md"]


def test_swift_has_no_syntax_errors(texts: dict[str, str]) -> None:
    """Guards Swift that no compiler has seen."""
    grammar = pytest.importorskip("tree_sitter_swift")
    tree_sitter = pytest.importorskip("tree_sitter")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    for name in ("Package.swift", f"{contents.SWIFT_FOLDER}/Net.swift"):
        assert not parser.parse(texts[name].encode()).root_node.has_error, name


OPERATORS = {
    "pooling": [
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 0]}),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [0, 0, 1, 1]}),
    ],
    "counted": [("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1})],
    "activations": [("Sigmoid", {}), ("LeakyRelu", {"alpha": 0.3}), ("Tanh", {}), ("HardSigmoid", {}), ("Relu", {})],
    "gated": [("HardSwish", {})],
}


@needs_coremltools
@pytest.mark.parametrize("operators", OPERATORS.values(), ids=OPERATORS)
def test_operators_as_in_onnxruntime(operators: list[tuple[str, dict[str, Any]]]) -> None:
    """Guards each translation and its interpreter, here with colour, groups, dilations and one-sided padding."""
    source = colour_network(operators)
    files = package_files(source)
    program = Program(files[SPECIFICATION_FILE], files[WEIGHTS_FILE])
    images = np.random.default_rng(2).integers(0, 256, (3, 14, 10, 3), np.uint8)
    images[1] //= 2
    images[2] //= 8
    session = onnx_session(source.data, threads=1)
    expected = np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])
    difference = np.abs(program.predict(images) - expected).max()
    # every result is rounded to the 11 bits of float16; other images have other answers
    assert difference < 0.01 and difference < 0.1 * np.ptp(expected, axis=0).max()


@needs_coremltools
@pytest.mark.parametrize(
    ("operators", "message"),
    [
        ([("Einsum", {"equation": "nchw->nchw"})], "expected ONNX operators that Core ML has, found Einsum"),
        ([("MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1})], "expected a form that Core ML has, found another"),
        ([("AveragePool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"})], "automatic padding"),
    ],
)
def test_networks_without_a_translation(operators: list[tuple[str, dict[str, Any]]], message: str) -> None:
    """Guards one line for a network of other operators, instead of another network."""
    with pytest.raises(ArtifactError, match=message):
        package_files(colour_network(operators))


def test_class_names_that_are_code() -> None:
    """Guards Swift strings: quotes and interpolations in class names are escapes."""
    assert contents.swift_literal('b"\\(c)') == '"b\\u{22}\\u{5c}\\u{28}c\\u{29}"'


@pytest.mark.skipif(HAS_COREMLTOOLS, reason="coremltools is installed")
def test_without_coremltools(tmp_path: Path) -> None:
    """Guards the line that says what to install; nothing is written."""
    done = CliRunner().invoke(main, ["bundle", str(NANO), "--for", "ios", "--out", str(tmp_path / "out")])
    assert done.exit_code == 2 and "found none; pip install 'feredge[ios]'" in done.output
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path: Path) -> None:
    """Guards against an int8 file, which has no float16 program."""
    words = ["bundle", str(NANO / "dense.int8.onnx"), "--for", "ios", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2 and "expected a file that is float32 throughout, found int8" in done.output


def test_each_target_gets_its_file() -> None:
    """Guards the kinds of source of one folder."""
    assert open_source(NANO, FLOAT32_ONNX).name == "dense.float32.onnx"
    assert open_source(NANO).name == "dense.int8.tflite"
