"""ONNX files from elsewhere: imported in any form that exporters write, refused in one line otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import CLASSES as OUTPUTS
from onnx_graphs import GraphWriter, run_file, write_cnn
from tiny_training import stripes

from feredge.api.pixel_range import IMAGENET_NORMALIZATION, black_and_white
from feredge.cli import main
from feredge.errors import ArtifactError, RecipeError, VerificationError
from feredge.export import export
from feredge.importing.layers import as_core
from feredge.importing.network import NetworkInput, import_network
from feredge.importing.onnx.network import open_onnx
from feredge.inference.contract import CLASSES
from feredge.train.networks import make_predict_function

FLOAT = TensorProto.FLOAT
INPUT = NetworkInput(16, 16, -1.0, 1.0)


def _with_last(path: Path, operator: str) -> Path:
    """Append an operator to a file's output."""
    model = onnx.load(path)
    last = model.graph.output[0].name
    model.graph.node.append(helper.make_node(operator, [last], ["last"], axis=1))
    model.graph.output[0].name = "last"
    onnx.save(model, path)
    return path


def _in_float16(path: Path) -> Path:
    """Store the weights of a file in float16, with a Cast to float32 of each."""
    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}_half")
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=FLOAT))
        tensor.CopyFrom(half)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
    return path


def _external(path: Path) -> Path:
    return write_cnn(path, save_as_external_data=True, size_threshold=0, location="weights.bin")


FORMS: dict[str, Callable[[Path], Path]] = {
    "any batch": lambda path: write_cnn(path),
    "batch of 1": lambda path: write_cnn(path, shape=(1, 1, 16, 16)),
    "batch of 4": lambda path: write_cnn(path, shape=(4, 1, 16, 16)),
    "any size": lambda path: write_cnn(path, shape=("batch", 1, "height", "width")),
    "three channels": lambda path: write_cnn(path, channels=3),
    "external weights": _external,
    "float16 weights": lambda path: _in_float16(write_cnn(path)),
    "probabilities": lambda path: _with_last(write_cnn(path), "Softmax"),
    "log-probabilities": lambda path: _with_last(write_cnn(path), "LogSoftmax"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_file_is_imported(tmp_path: Path, form: str, childless: None) -> None:
    """Guards what exporters write: the network has the outputs of the file in onnxruntime."""
    path = FORMS[form](tmp_path / "net.onnx")
    images = stripes(7).images
    original, network = open_onnx(path, images, INPUT)
    pixels = np.repeat(images, network.input_shape[-1], axis=3).astype(np.float32) / 127.5 - 1
    rows = network(pixels).numpy()
    np.testing.assert_allclose(rows, original.rows, atol=2e-5)  # float32 sums in another order
    if form in ("any batch", "external weights"):
        np.testing.assert_allclose(rows, run_file(path, pixels.transpose(0, 3, 1, 2)), atol=2e-5)
    assert (np.abs(rows.sum(axis=1) - 1).max() < 1e-5) == form.endswith("probabilities")


def test_mean_and_deviation_of_each_channel_are_applied(tmp_path: Path, childless: None) -> None:
    """Guards the normalization that PyTorch users name: in onnxruntime, and folded into the imported network."""
    path = write_cnn(tmp_path / "net.onnx", channels=3)
    low, high = black_and_white("imagenet")
    images = stripes(7).images
    original, network = open_onnx(path, images, NetworkInput(16, 16, low, high))
    core = as_core(network, size=16, low=low, high=high)
    np.testing.assert_allclose(make_predict_function(core)(images), original.rows, atol=5e-5)  # folded in float32
    mean, deviation = (np.array(side, np.float32) for side in IMAGENET_NORMALIZATION)
    pixels = (images.astype(np.float32) / 255 - mean) / deviation
    np.testing.assert_allclose(run_file(path, pixels.transpose(0, 3, 1, 2)), original.rows, atol=5e-5)
    with pytest.raises(RecipeError, match=r"--input-range: expected values of 1 channel\(s\), found those of 3"):
        open_onnx(write_cnn(tmp_path / "gray.onnx"), images, NetworkInput(16, 16, low, high))


@pytest.mark.parametrize("values", [(1.0, 0.0), ((0.5,), (0.0,)), ((0.5, 0.5), (1.0, 1.0)), ((0.5,), (1.0, 1.0, 1.0))])
def test_ranges_that_are_none_are_refused(values: Any) -> None:
    """Guards a division by zero, and values of another number of channels than a picture has."""
    with pytest.raises(RecipeError, match="--input-range: expected"):
        black_and_white(values)


def test_a_file_is_exported_in_every_format(tmp_path: Path, here: None) -> None:
    """Guards the whole way to pruned and int8 files, whose card says where the network came from."""
    run = import_network(write_cnn(tmp_path / "net.onnx"), INPUT, CLASSES, stripes(), tmp_path / "run")
    recipe = run.recipe()
    compression = dataclasses.replace(recipe.compression, variants=("dense", "pruned-50", "qat"), epochs=1)
    settings = dataclasses.replace(recipe.export, files=("int8.onnx", "int8.tflite"), calibration_images=64)
    manifest = export(run, stripes(), recipe=dataclasses.replace(recipe, compression=compression), settings=settings)
    assert not manifest.failures and len(manifest.entries) == 6
    assert manifest.entries[0].card.recipe["foreign"]["file"] == "net.onnx"


def test_parallel_first_layers_become_int8(tmp_path: Path, here: None, childless: None) -> None:
    """Guards networks whose branches all read the pixels, as those of RepVGG before they are merged."""
    graph = GraphWriter()
    branches = graph.conv("image", 1, 8, pads=[1, 1, 1, 1]), graph.conv("image", 1, 8, size=1)
    output = graph.classifier(graph.node("Relu", graph.node("Add", *branches)), 8)
    path = graph.save(tmp_path / "net.onnx", output)
    run = import_network(path, INPUT, CLASSES, stripes(), tmp_path / "run")
    settings = dataclasses.replace(run.recipe().export, files=("int8.onnx",), calibration_images=64)
    assert not export(run, stripes(), settings=settings).failures


def test_a_translation_that_is_another_function_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, childless: None
) -> None:
    """Guards a silent error of a translator: nothing is written unless the outputs are those of onnxruntime."""
    path = write_cnn(tmp_path / "net.onnx")

    def altered(*arguments: Any, **options: Any) -> Any:
        original, network = open_onnx(*arguments, **options)
        network.layers[-1].set_weights([2 * weight for weight in network.layers[-1].get_weights()])
        return original, network

    monkeypatch.setattr("feredge.importing.onnx.network.open_onnx", altered)
    with pytest.raises(VerificationError, match=r"expected the outputs of its own framework within 0.001"):
        import_network(path, INPUT, CLASSES, stripes(70), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def _save(path: Path, nodes: list[Any], inputs: tuple[str, ...] = ("image",), opsets: tuple[str, ...] = ("",)) -> Path:
    values = [helper.make_tensor_value_info(name, FLOAT, ("batch", 1, 16, 16)) for name in inputs]
    output = helper.make_tensor_value_info(nodes[-1].output[0], FLOAT, None)
    domains = [helper.make_opsetid(name, 17 if not name else 1) for name in opsets]
    onnx.save(helper.make_model(helper.make_graph(nodes, "x", values, [output]), opset_imports=domains), path)
    return path


def _control_flow(path: Path) -> Path:
    body = helper.make_graph([helper.make_node("Relu", ["image"], ["y"])], "then", [], [
        helper.make_tensor_value_info("y", FLOAT, None)])  # fmt: skip
    return _save(path, [helper.make_node("If", ["image"], ["z"], then_branch=body, else_branch=body)])


def _escaping_weights(path: Path) -> Path:
    write_cnn(path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    path.write_bytes(path.read_bytes().replace(b"weights.bin", b"../eights.b"))
    return path


def _missing_weights(path: Path) -> Path:
    _external(path)
    (path.parent / "weights.bin").unlink()
    return path


def _two_outputs(path: Path) -> Path:
    model = onnx.load(write_cnn(path))
    model.graph.output.append(helper.make_tensor_value_info(model.graph.node[-2].output[0], FLOAT, None))
    onnx.save(model, path)
    return path


def _unknown_operator(path: Path) -> Path:
    graph = GraphWriter()
    return graph.save(path, graph.classifier(graph.node("Sin", graph.conv("image", 1, 8)), 8))


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "control flow": (_control_flow, "expected operators without control flow, found If"),
    "another domain": (
        lambda path: _save(path, [helper.make_node("Own", ["image"], ["y"], domain="com.own")], opsets=("", "com.own")),
        "expected operators that onnxruntime implements, found 'Own' of 'com.own'",
    ),
    "two inputs": (
        lambda path: _save(path, [helper.make_node("Add", ["image", "other"], ["y"])], ("image", "other")),
        "expected one input, found 2 (image, other)",
    ),
    "two outputs": (_two_outputs, "expected one of its outputs as --output, Gemm_7_0, Flatten_6_0, found none"),
    "weights outside": (_escaping_weights, "expected weights in the model's own folder, found them in '../eights.b'"),
    "no weights": (_missing_weights, "expected weights in 'weights.bin', found none"),
    "another size": (
        lambda path: write_cnn(path, shape=("batch", 1, 24, 24)),
        "expected the input 16x16 of --input-size, found 24x24",
    ),
    "four channels": (lambda path: write_cnn(path, channels=4), "expected an input of images"),
    "unknown operator": (_unknown_operator, "expected operators with a Keras layer, found Sin (node '/Sin_1')"),
    "no network": (lambda path: path.write_bytes(b"x" * 99), "expected an ONNX model"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_refused_in_one_line(tmp_path: Path, name: str, childless: None) -> None:
    """Guards stack traces, guesses, and files that read others or never end; nothing is written."""
    write, message = REFUSED[name]
    path = tmp_path / "net.onnx"
    write(path)
    with pytest.raises(ArtifactError) as caught:
        open_onnx(path, stripes(7).images, INPUT)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net.pt", "can run code; write an ONNX file with feredge.from_torch(module, example)"),
        ("net.pth", "can run code; write an ONNX file with feredge.from_torch(module, example)"),
        ("net.tflite", "found a file that was converted already"),
    ],
)
def test_files_that_are_not_opened(tmp_path: Path, name: str, message: str) -> None:
    """Guards pickles, and says what to do instead."""
    (tmp_path / name).write_bytes(b"not opened")
    done = CliRunner().invoke(main, ["export", str(tmp_path / name)])
    assert done.exit_code == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_the_command_names_the_classes_it_expects(tmp_path: Path) -> None:
    """Guards labels of another number than the outputs."""
    path = write_cnn(tmp_path / "net.onnx")
    options = ["--input-size", "16x16", "--input-range=0..1", "--classes", "angry,happy", "--data", "drawn:70"]
    done = CliRunner().invoke(main, ["export", str(path), *options, "--out", str(tmp_path / "run")])
    assert done.exit_code == 2 and f"--classes: expected {OUTPUTS} different names" in done.stderr
    assert not (tmp_path / "run").exists()
