"""Foreign files: their signature, scaling of pixels, outputs, batches, and the Predictor on them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from device_models import card, expected, write_tflite

from feredge.benchmark.alternative_runtimes import open_without_xnnpack
from feredge.errors import ArtifactError, NoCardError
from feredge.inference import foreign
from feredge.inference.contract import InputContract
from feredge.inference.foreign import ForeignRunner
from feredge.inference.predictor import Predictor


def test_tflite_without_xnnpack_and_as_a_foreign_file(tmp_path: Path) -> None:
    """Guards LiteRT's two sets of kernels, and a foreign TFLite file: equal outputs."""
    pytest.importorskip("ai_edge_litert")
    path = write_tflite(tmp_path / "small.tflite", with_card=card())
    batch = np.random.default_rng(2).integers(0, 256, (3, 48, 48, 1), np.uint8)
    reference = open_without_xnnpack(path).predict(batch)
    other = ForeignRunner(path, black=-1, white=1)  # it takes uint8 pixels as they are, whatever is said
    assert np.abs(reference - expected(batch)).max() < 1e-5  # float32 beside float64
    assert np.abs(other.predict(batch) - reference).max() < 1e-5
    signature = other.signature()
    assert signature.contract == InputContract()
    assert not (signature.channels_first or signature.scaled) and signature.activation == "softmax"


def _write(path: Path, outputs: dict[str, tuple[int, str]], *, inputs: int = 1) -> Path:
    """Write a linear network of 8x8 gray pixels with outputs of a number of units, each with an activation."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(3)
    nodes = [helper.make_node("Flatten", ["image"], ["flat"])]
    weights, results = [], []
    for name, (units, activation) in outputs.items():
        weights.append(numpy_helper.from_array(rng.normal(0, 0.5, (64, units)).astype(np.float32), f"{name}_w"))
        nodes.append(helper.make_node("MatMul", ["flat", f"{name}_w"], [f"{name}_z"]))
        nodes.append(helper.make_node(activation, [f"{name}_z"], [name]))
        results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", units]))
    images = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1, 8, 8]) for name in ("image", "other")[:inputs]
    ]
    graph = helper.make_graph(nodes, "g", images, results, weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


BATCH = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 1), np.uint8)


def test_an_output_of_several_is_chosen_by_its_name(tmp_path: Path) -> None:
    """Guards the first of several outputs measured without a word, and a file of two inputs."""
    path = _write(tmp_path / "net.onnx", {"gender": (2, "Softmax"), "age": (5, "Softmax")})
    with pytest.raises(ArtifactError, match="expected one of its outputs as --output, gender, age, found none"):
        ForeignRunner(path)
    with pytest.raises(ArtifactError, match="found mood"):
        ForeignRunner(path, output="mood")
    assert ForeignRunner(path, output="age").predict(BATCH).shape == (6, 5)
    with pytest.raises(ArtifactError, match="expected one input, found 2"):
        ForeignRunner(_write(tmp_path / "two.onnx", {"age": (5, "Softmax")}, inputs=2))


def test_a_sigmoid_is_two_classes_and_several_keep_their_shares(tmp_path: Path) -> None:
    """Guards yes/no networks, and sigmoids taken for logits, whose softmax would make every answer unsure."""
    one, several = (
        _write(tmp_path / "one.onnx", {"p": (1, "Sigmoid")}),
        _write(tmp_path / "a.onnx", {"p": (3, "Sigmoid")}),
    )
    assert [ForeignRunner(path).signature().activation for path in (one, several)] == ["sigmoid"] * 2
    assert ForeignRunner(one).signature().classes == 2
    raw = ForeignRunner(several).predict(BATCH)
    shares = ForeignRunner(several, activation="sigmoid").predict(BATCH)
    np.testing.assert_allclose(shares, raw / raw.sum(axis=1, keepdims=True), rtol=1e-6)
    both = ForeignRunner(one, activation="sigmoid").predict(BATCH)
    logit = ForeignRunner(_write(tmp_path / "z.onnx", {"p": (1, "Identity")}), activation="logits").predict(BATCH)
    np.testing.assert_allclose(both, logit, atol=1e-6)


def test_some_classes_are_evaluated_alone(tmp_path: Path) -> None:
    """Guards a file of more classes than the data: its probabilities of theirs, which sum to 1."""
    path = _write(tmp_path / "net.onnx", {"p": (4, "Softmax")})
    raw = ForeignRunner(path).predict(BATCH)
    part = ForeignRunner(path, columns=[3, 1]).predict(BATCH)
    np.testing.assert_allclose(part, raw[:, [3, 1]] / raw[:, [3, 1]].sum(axis=1, keepdims=True), rtol=1e-6)


def test_the_predictor_takes_a_file_that_has_no_card(tmp_path: Path) -> None:
    """Guards files of other tools on the device, with the same checks before a runtime opens them."""
    path = _write(tmp_path / "net.onnx", {"z": (3, "Identity")})
    with pytest.raises(NoCardError, match="give the classes and the input range"):
        Predictor(path)
    with pytest.raises(ArtifactError, match="has outputs of 3 classes, expected as many different names, found a, b"):
        Predictor(path, classes=("a", "b"))
    with Predictor(path, classes=("a", "b", "c"), input_range=(-1.0, 1.0)) as predictor:
        outputs = predictor.predict(BATCH)
        expected = ForeignRunner(path, black=-1, white=1, activation="logits").predict(BATCH)
        np.testing.assert_allclose(outputs, expected, atol=1e-6)
        assert predictor(BATCH[0]).label == "abc"[int(expected[0].argmax())]
        with pickle.loads(pickle.dumps(predictor)) as copy:
            np.testing.assert_array_equal(copy.predict(BATCH), outputs)
    from onnx import load, save

    save(load(path), tmp_path / "outside.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(ArtifactError, match="expected a file that holds all its weights"):
        Predictor(tmp_path / "outside.onnx", classes=("a", "b", "c"))
    with pytest.raises(ArtifactError, match="has a feredge card, which states its classes and input"):
        Predictor(foreign.__file__.replace("inference/foreign.py", "models/nano.int8.onnx"), classes=("a", "b"))


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    """Guards the newcomer's clone without Git LFS: a parser's message about a damaged model."""
    path = tmp_path / "net.onnx"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 34\n")
    with pytest.raises(ArtifactError, match="found a pointer of Git LFS"):
        Predictor(path)


@pytest.mark.parametrize("form", ["batch of 4", "float16"])
def test_files_of_a_fixed_batch_and_in_half_precision(tmp_path: Path, form: str) -> None:
    """Guards files that torch exports without dynamic axes, and those of networks in half precision."""
    from onnx import TensorProto, load, numpy_helper, save

    path = _write(tmp_path / "net.onnx", {"y": (3, "Softmax")})
    expected_outputs = ForeignRunner(path).predict(BATCH)
    model = load(path)
    if form == "float16":
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
        (weights,) = model.graph.initializer
        weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights).astype(np.float16), weights.name))
    else:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 4
    save(model, path)
    tolerance = 1e-2 if form == "float16" else 1e-6  # 11 bits, in 64 products
    np.testing.assert_allclose(ForeignRunner(path).predict(BATCH), expected_outputs, atol=tolerance)
