"""Variants in their final files: what their names promise is looked up there, whatever Keras says."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_export import SMALL, one_thread, with_recipe
from tiny_training import stripes

from feredge.compress import pruning, variants
from feredge.compress.rounding import Rounding
from feredge.errors import VerificationError
from feredge.export import export, exporter
from feredge.export.onnx import converter as onnx_converter
from feredge.export.tflite import converter as tflite_converter
from feredge.importing.run_from_weights import create_run
from feredge.inference.artifact import Manifest
from feredge.inference.tflite import TFLiteGraph, litert_interpreter
from feredge.inspection import variant_checks
from feredge.inspection import weights as contents
from feredge.keras import keras
from feredge.recipes.schema import Compression, Export, Network
from feredge.run import RunFolder
from feredge.train.networks import multiply_adds

RECIPE = dataclasses.replace(
    SMALL,
    compression=Compression(("pruned-60-qat", "clustered-12", "channels-25"), epochs=2, rate=0.02),
    export=Export(("float32", "int8"), calibration=128),
)
NAMES = [
    f"{variant}.{precision}.{kind}"
    for variant in RECIPE.compression.variants
    for kind in RECIPE.export.formats
    for precision in RECIPE.export.precisions
]

Exported = tuple[RunFolder, Manifest]


@pytest.fixture(scope="module")
def compressed(trained: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Give the tiny run with the variants of RECIPE exported, in this process."""
    run = with_recipe(trained, tmp_path_factory.mktemp("variants") / "run", RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "processes", one_thread)
        return run, export(run, stripes())


def _weights(compressed: Exported) -> str:
    return compressed[1].entries[0].card.source["weights"]


def test_every_variant_is_exported(compressed: Exported) -> None:
    """Guards the matrix: all files passed the gate; what a quantized variant starts from is kept for the next time."""
    run, manifest = compressed
    assert sorted(entry.file for entry in manifest.entries) == sorted(NAMES)
    kept = sorted(path.name for path in run.variants.iterdir())
    assert kept == ["channels-25.npz", "clustered-12.npz", "pruned-60-qat.npz", "pruned-60.npz"]


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("pruned")])
def test_zeros_survive_quantization_aware_training(compressed: Exported, name: str) -> None:
    """Guards against sparsity lost, or 1x1 kernels emptied, on the way from one compression to the next."""
    inside = contents.read(compressed[0].artifacts / name)
    assert inside.sparsity >= 0.6
    assert all(kernel.any() for kernel in inside.kernels.values())


def test_trained_ranges_are_those_of_the_activations(compressed: Exported) -> None:
    """Guards integers against ranges of -6 to 6, which a few epochs do not move: after a ReLU nothing is negative."""
    file = compressed[0].artifacts / "pruned-60-qat.int8.tflite"
    details = litert_interpreter(file.read_bytes()).get_tensor_details()
    zeros = [item["quantization"][1] for item in details if "/Relu;" in item["name"] and item["dtype"] == np.int8]
    assert len(zeros) == 5 and set(zeros) == {-128}


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("clustered")])
def test_clustered_kernels_hold_few_values(compressed: Exported, name: str) -> None:
    """Guards against batch normalization, or a scale a channel, that gives every channel values of its own."""
    found = {
        key: len(np.unique(kernel)) for key, kernel in contents.read(compressed[0].artifacts / name).kernels.items()
    }
    assert len(found) == 7 and max(found.values()) <= 12
    assert sorted(found.values())[3] > 6  # most values are used: the count is a bound, not a collapse


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_clusters_stay_with_weights_only_in_int8(compressed: Exported, tmp_path: Path, suffix: str) -> None:
    """Guards the third way that a converter stores a kernel; a scale a channel would show here."""
    core = variants.open_core(compressed[0], "clustered-12", weights=_weights(compressed))
    path, few = tmp_path / f"x.{suffix}", dict[Rounding, bool]()
    ways: tuple[Rounding, ...] = ("one-scale", "kept-sums")
    for rounding in ways:
        if suffix == "tflite":
            model = tflite_converter.to_tflite(core, "dynamic-int8", calibration=stripes(8).batch, rounding=rounding)
        else:
            graph = onnx_converter.core_graph(core, opset=17)
            model = onnx_converter.at_precision(graph, "dynamic-int8", rounding=rounding).SerializeToString()
        path.write_bytes(model)
        kernels = contents.read(path).kernels.values()
        assert any(kernel.dtype == np.int8 for kernel in kernels)
        few[rounding] = all(len(np.unique(kernel)) <= 12 for kernel in kernels)
    assert few == {"one-scale": True, "kept-sums": False}


@pytest.mark.parametrize("precision", ["dynamic-int8", "int16x8"])
def test_one_scale_serves_depthwise_kernels_too(precision: str) -> None:
    """Guards against LiteRT, which reads a scale for every channel there, past the end of an only one."""
    pixels = keras.Input((6, 6, 1))
    x = keras.layers.Conv2D(128, 1, use_bias=False)(pixels)
    x = keras.layers.DepthwiseConv2D(3, bias_initializer="random_normal")(x)
    x = keras.layers.Dense(7, "softmax")(keras.layers.GlobalAveragePooling2D()(x))
    core, images = keras.Model(pixels, x), stripes(32, size=6).batch
    model = tflite_converter.to_tflite(core, precision, calibration=images, rounding="one-scale")
    details = litert_interpreter(model).get_tensor_details()
    (kernel,) = (item for item in details if item["dtype"] == np.int8 and item["shape"].tolist() == [1, 3, 3, 128])
    scales = kernel["quantization_parameters"]["scales"]
    assert len(scales) == 128 and len(set(scales)) == 1
    found = TFLiteGraph(litert_interpreter(model)).run(images)
    # steps of 1/127 in kernel and activations, over nine products and a mean: a hundredth is far from noise
    np.testing.assert_allclose(found, core(images / np.float32(255)).numpy(), atol=0.01)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("channels")])
def test_channels_are_gone_from_the_file(compressed: Exported, name: str) -> None:
    """Guards against zeros in tensors of the old shape, which save nobody time."""
    run, _ = compressed
    inside = contents.read(run.artifacts / name)
    slim, dense = (variants.open_core(run, each, weights=_weights(compressed)) for each in ("channels-25", "dense"))
    assert multiply_adds(slim) <= 0.75 * multiply_adds(dense)
    assert sum(kernel.size for kernel in inside.kernels.values()) == sum(
        kernel.shape.num_elements() for kernel in slim.trainable_weights if "kernel" in kernel.name
    )
    assert inside.sparsity < 0.05


@pytest.mark.parametrize(
    ("file", "claim", "message"),
    [
        ("channels-25.float32.onnx", "pruned-60", "expected 60% of the weights zero"),
        ("channels-25.int8.tflite", "clustered-12", "expected at most 12 different weights in a kernel"),
    ],
)
def test_broken_promises_are_errors(compressed: Exported, file: str, claim: str, message: str) -> None:
    """Guards the gate itself, for both formats."""
    with pytest.raises(VerificationError, match=rf"^{file}: {message}"):
        variant_checks.check(contents.read(compressed[0].artifacts / file), claim, file)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
def test_values_are_counted_in_every_precision(dtype: type) -> None:
    """Guards against numpy's sort of float16, which found 34 different values among 16 on a CPU with AVX-512."""
    kernel = np.random.default_rng(1).choice(np.arange(-8, 8), (3, 3, 64, 64)).astype(dtype)
    inside = contents.Contents({"kernel": kernel}, (), None)
    variant_checks.check(inside, "clustered-16", "x.tflite")
    with pytest.raises(VerificationError, match="at most 15 different weights in a kernel, found 16"):
        variant_checks.check(inside, "clustered-15", "x.tflite")


def test_a_file_of_another_size_is_refused(compressed: Exported) -> None:
    """Guards the gate for channels: a file must have its own network's number of weights."""
    run, _ = compressed
    dense = variants.open_core(run, "dense", weights=_weights(compressed))
    inside = contents.read(run.artifacts / "channels-25.int8.onnx")
    with pytest.raises(VerificationError, match=r"^x\.onnx: expected 4920 weights, found 2496"):
        variant_checks.check_size(inside, pruning.weight_count(dense), "x.onnx")


def test_a_stopped_variant_ends_like_an_uninterrupted_one(compressed: Exported, tmp_path: Path) -> None:
    """Guards reproducible weights: stopped after an epoch, made alone, it comes out bit for bit the same."""
    run = with_recipe(RunFolder(compressed[0].path), tmp_path / "run", RECIPE)
    for left in run.variants.iterdir():
        left.unlink()
    _stop_and_go_on(run, "pruned-60")
    again, first = (np.load(folder.variants / "pruned-60.npz") for folder in (run, compressed[0]))
    for key in first.files:
        np.testing.assert_array_equal(again[key], first[key])


def _stop_and_go_on(run: RunFolder, name: str) -> None:
    """Make a variant in two goes, the second after a stop in its second epoch of two."""
    train = exporter.data.split(stripes(), run.recipe().data).train
    weights = run.figures()["weights"]

    def stop(share: float, note: str) -> None:
        if share > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        variants.prepare(run, name, train, weights=weights, tell=stop)
    assert (run.variants / f"{name}.unfinished.npz").is_file()
    seen: list[float] = []
    variants.prepare(run, name, train, weights=weights, tell=lambda share, note: seen.append(share))
    assert not (run.variants / f"{name}.unfinished.npz").exists() and min(seen) > 0.5


@pytest.fixture(scope="module")
def dropping(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Give a run of a tiny network with Dropout layers, one that drops single values and one that drops channels."""
    x = pixels = keras.Input((16, 16, 1), name="pixels")
    x = keras.layers.Dropout(0.3, name="drop")(keras.layers.Conv2D(8, 3, name="conv", activation="relu")(x))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.SpatialDropout2D(0.2, name="thin")(x))
    core = keras.Model(pixels, keras.layers.Dense(7, "softmax", name="logits")(x), name="core")
    compression = Compression(("pruned-60", "qat"), epochs=2, rate=0.02)
    recipe = dataclasses.replace(SMALL, network=Network(name="foreign"), compression=compression)
    return create_run(core, recipe, stripes(), tmp_path_factory.mktemp("dropping") / "run")


@pytest.mark.parametrize("name", ["pruned-60", "qat"])
def test_one_with_dropout_does_too(dropping: RunFolder, tmp_path: Path, name: str) -> None:
    """Guards against Keras's own generator, which starts over with the process, bare and under wrappers."""
    train, runs = exporter.data.split(stripes(), SMALL.data).train, []
    for place in ("whole", "stopped"):
        runs.append(RunFolder(shutil.copytree(dropping.path, tmp_path / place)))
    weights = dropping.figures()["weights"]
    variants.prepare(runs[0], name, train, weights=weights, tell=lambda share, note: None)
    _stop_and_go_on(runs[1], name)
    first, again = (np.load(run.variants / f"{name}.npz") for run in runs)
    for key in first.files:
        np.testing.assert_array_equal(again[key], first[key])


def test_variants_that_are_made_as_before_are_kept(compressed: Exported, tmp_path: Path) -> None:
    """Guards hours of fine-tuning in run folders: the digest is one of before Dropout layers were drawn by the step."""
    run = with_recipe(compressed[0], tmp_path / "run", RECIPE)
    known = "f6313dfc356e2bb8d56a533d47021d13f6049f618b7abfcdee9d77807a24e1ac"
    assert variants._identity(run, "clustered-12", "0" * 64) == known
