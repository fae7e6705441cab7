"""What an export leaves: the files themselves, looked at and run as a stranger would."""

from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from tiny_training import stripes

from feredge.inference.artifact import Manifest
from feredge.inference.runtimes import open_artifact
from feredge.inspection import weights
from feredge.run import RunFolder

Exported = tuple[RunFolder, Manifest]

TFLITE = ("float32", "float16", "dynamic-int8", "int8")
ONNX = ("float32", "dynamic-int8", "int8")
VARIANTS = ("dense", "pruned-60", "qat")
NAMES = [f"{variant}.{precision}.tflite" for variant in VARIANTS for precision in TFLITE]
NAMES += [f"{variant}.{precision}.onnx" for variant in VARIANTS for precision in ONNX]
INT8 = [name for name in NAMES if ".int8." in name]


def test_every_file_is_there_and_nothing_else(exported: Exported) -> None:
    """Guards the matrix and the names, and that no temporary file stays behind."""
    run, manifest = exported
    assert sorted(entry.file for entry in manifest.entries) == sorted(NAMES)
    assert sorted(path.name for path in run.artifacts.iterdir()) == sorted(
        [*NAMES, "manifest.json", "probes.npz", "runtimes.json"]
    )
    assert Manifest.read(run.artifacts) == manifest


@pytest.mark.parametrize("name", NAMES)
def test_a_file_says_what_it_is(exported: Exported, name: str) -> None:
    """Guards idea 2: the card inside a file is the manifest's, with recipe, digests and versions filled in."""
    run, manifest = exported
    card = open_artifact(run.artifacts / name).card
    assert card == next(entry.card for entry in manifest.entries if entry.file == name)
    assert f"{card.variant}.{card.precision}" == name.rpartition(".")[0]
    assert card.recipe["name"] == "tiny" and card.source["data"] == stripes().digest
    assert len(card.source["weights"]) == 64 and {"feredge", "tensorflow", "onnxruntime"} <= set(card.versions)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_has_one_answer_whatever_the_batch(exported: Exported, name: str) -> None:
    """Guards `resize_tensor_input` and dynamic batches, and against ranges taken from the whole batch."""
    images = stripes(5, seed=7).images
    runner = open_artifact(exported[0].artifacts / name)
    together = runner.predict(images)
    alone = np.concatenate([runner.predict(image[None]) for image in images])
    assert together.shape == (5, 7)
    np.testing.assert_allclose(alone, together, atol=1e-5)  # float kernels may sum in another order


@pytest.mark.parametrize("name", [name for name in INT8 if name.endswith(".tflite")])
def test_tflite_int8_takes_pixels_and_holds_no_float(exported: Exported, name: str) -> None:
    """Guards against int8 files that are not integer: raw pixels in at 1/255 and 0, uint8 out, no float between."""
    interpreter = Interpreter(str(exported[0].artifacts / name))
    interpreter.allocate_tensors()
    image, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert image["dtype"] is result["dtype"] is np.uint8
    assert image["quantization"] == (np.float32(1 / 255), 0) and result["quantization"] == (1 / 256, 0)
    kinds = {np.dtype(tensor["dtype"]).kind for tensor in interpreter.get_tensor_details()}
    assert kinds <= {"i", "u"}


@pytest.mark.parametrize("name", [name for name in INT8 if name.endswith(".onnx")])
def test_onnx_int8_takes_pixels_as_integers(exported: Exported, name: str) -> None:
    """Guards the graph's head: the uint8 image reaches a DequantizeLinear with nothing but a layout change before."""
    graph = onnx.load(exported[0].artifacts / name).graph
    kinds = collections.Counter(node.op_type for node in graph.node)
    assert not {"Cast", "Mul", "Div"} & set(kinds) and kinds["Softmax"] == 1
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    inside = weights.read(exported[0].artifacts / name)
    assert inside.input_quantization == (np.float32(1 / 255), 0)
    assert {kernel.dtype for kernel in inside.kernels.values()} == {np.dtype(np.int8)}
    assert graph.node[-1].op_type == "Softmax"  # in float: 256 steps would tie classes


@pytest.mark.parametrize("name", [name for name in INT8 if name.endswith(".onnx")])
def test_onnxruntime_runs_int8_as_integers(exported: Exported, name: str, tmp_path: Path) -> None:
    """Guards against quantized files whose convolutions the runtime widens to float again."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimized.onnx"), 3
    onnxruntime.InferenceSession(exported[0].artifacts / name, options, providers=["CPUExecutionProvider"])
    kinds = collections.Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert kinds["QLinearConv"] == 6 and not kinds["Conv"] + kinds["FusedConv"]


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("pruned-60")])
def test_pruned_weights_are_zero_in_the_file(exported: Exported, name: str) -> None:
    """Guards against zeros lost on the way: every kernel of the final file is counted, not Keras's."""
    inside = weights.read(exported[0].artifacts / name)
    assert len(inside.kernels) == 7 and inside.sparsity >= 0.6
    assert all(kernel.any() for kernel in inside.kernels.values())


def test_dense_weights_are_not_pruned(exported: Exported) -> None:
    """Guards the sparsity measurement itself."""
    assert weights.read(exported[0].artifacts / "dense.float32.onnx").sparsity < 0.01


def test_sizes_follow_precision(exported: Exported) -> None:
    """Guards against files that keep float weights under another name; cards and names are the same in all."""
    size = {entry.file: entry.bytes for entry in exported[1].entries}
    for suffix in ("tflite", "onnx"):
        assert size[f"dense.int8.{suffix}"] < size[f"dense.float32.{suffix}"]
        assert size[f"dense.dynamic-int8.{suffix}"] < size[f"dense.float32.{suffix}"]
    assert size["dense.float16.tflite"] < size["dense.float32.tflite"]


def test_qat_brings_its_own_ranges(exported: Exported) -> None:
    """Guards that the file comes from the trained ranges, not from calibrating the same weights again."""
    run, _ = exported
    images = stripes(210, seed=3).images
    trained, calibrated = (open_artifact(run.artifacts / f"qat.int8.{suffix}") for suffix in ("tflite", "onnx"))
    assert np.abs(trained.predict(images) - calibrated.predict(images)).max() > 1 / 256


def test_verification_stands_in_the_manifest(exported: Exported) -> None:
    """Guards the figures a reader relies on: enough real images, all of them, and shares that add up."""
    for entry in exported[1].entries:
        figures = entry.verification
        assert figures["images"] == 256  # 84 of the validation split, and training images
        assert 0.9 <= figures["agreement"] <= 1 and 0 <= figures["mean"] <= figures["largest"]
        assert sum(figures["shares"].values()) == pytest.approx(1)
        assert max(figures["float_shares"].values()) < 0.9  # the network itself tells the classes apart
        assert ("calibration_images" in figures) == (entry.card.precision == "int8")
