"""Variants: sparsity, clusters and sizes in the exported files, and resumed fine-tuning."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_export import SMALL, one_thread, with_recipe
from tiny_training import stripes

from feredge import data
from feredge.compress import pruning, variants
from feredge.errors import VerificationError
from feredge.export import export, exporter
from feredge.export.onnx.converter import to_onnx
from feredge.export.tflite.converter import to_tflite
from feredge.importing.run_from_weights import create_run
from feredge.inference.artifact import Manifest
from feredge.inference.tflite import TFLiteGraph, litert_interpreter
from feredge.inspection import variant_checks
from feredge.inspection import weights as contents
from feredge.keras import keras
from feredge.recipes.schema import Compression, Export, Network
from feredge.recipes.variant import Variant
from feredge.run import RunFolder
from feredge.train.networks import multiply_adds

VARIANTS_RECIPE = dataclasses.replace(
    SMALL,
    compression=Compression(("pruned-60-qat", "clustered-12", "channels-25"), epochs=2, learning_rate=0.02),
    export=Export(("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx"), calibration_images=128),
)
EXPORTED_FILES = [
    f"{variant}.{file}" for variant in VARIANTS_RECIPE.compression.variants for file in VARIANTS_RECIPE.export.files
]

Exported = tuple[RunFolder, Manifest]


@pytest.fixture(scope="module")
def compressed(trained: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Return the tiny run with the variants of VARIANTS_RECIPE exported, in this process."""
    run = with_recipe(trained, tmp_path_factory.mktemp("variants") / "run", VARIANTS_RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "process_pool", one_thread)
        return run, export(run, stripes())


def _weights(compressed: Exported) -> str:
    return compressed[1].entries[0].card.source["weights"]


def test_every_variant_is_exported(compressed: Exported) -> None:
    """Guards the matrix: all files are verified, and the base of a quantized variant is kept."""
    run, manifest = compressed
    assert sorted(entry.file for entry in manifest.entries) == sorted(EXPORTED_FILES)
    variant_files = sorted(path.name for path in run.variants.iterdir())
    assert variant_files == ["channels-25.npz", "clustered-12.npz", "pruned-60-qat.npz", "pruned-60.npz"]


@pytest.mark.parametrize("name", [name for name in EXPORTED_FILES if name.startswith("pruned")])
def test_zeros_survive_quantization_aware_training(compressed: Exported, name: str) -> None:
    """Guards against lost sparsity, and 1x1 kernels that are all zero, after two compressions."""
    inside = contents.read(compressed[0].artifacts / name)
    assert inside.sparsity >= 0.6
    assert all(kernel.any() for kernel in inside.kernels.values())


def test_trained_ranges_are_those_of_the_activations(compressed: Exported) -> None:
    """Guards against the default ranges of -6 to 6, which a few epochs hardly change: a ReLU's start at 0."""
    file = compressed[0].artifacts / "pruned-60-qat.int8.tflite"
    details = litert_interpreter(file.read_bytes()).get_tensor_details()
    zeros = [item["quantization"][1] for item in details if "/Relu;" in item["name"] and item["dtype"] == np.int8]
    assert len(zeros) == 5 and set(zeros) == {-128}


@pytest.mark.parametrize("name", [name for name in EXPORTED_FILES if name.startswith("clustered")])
def test_clustered_kernels_hold_few_values(compressed: Exported, name: str) -> None:
    """Guards against different values per channel, by batch normalization or by scales per channel."""
    counts = {
        key: len(np.unique(kernel)) for key, kernel in contents.read(compressed[0].artifacts / name).kernels.items()
    }
    assert len(counts) == 7 and max(counts.values()) <= 12
    assert sorted(counts.values())[3] > 6  # most clusters are used


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_clusters_stay_with_weights_only_in_int8(compressed: Exported, tmp_path: Path, suffix: str) -> None:
    """Guards weight-only int8: scales per channel would multiply the number of values."""
    core = variants.open_core(compressed[0], "clustered-12", weights=_weights(compressed))
    path = tmp_path / f"x.{suffix}"
    images = stripes(8).images
    for variant, clustered in ((Variant("clustered", 12), True), (Variant("dense"), False)):
        if suffix == "tflite":
            model = to_tflite(core, "dynamic-int8", calibration=images, variant=variant)
        else:
            model = to_onnx(core, "dynamic-int8", opset=17, calibration=images, variant=variant)
        path.write_bytes(model)
        kernels = contents.read(path).kernels.values()
        assert any(kernel.dtype == np.int8 for kernel in kernels)
        assert all(len(np.unique(kernel)) <= 12 for kernel in kernels) == clustered


@pytest.mark.parametrize("precision", ["dynamic-int8", "int16x8"])
def test_depthwise_kernels_can_have_one_scale(precision: str) -> None:
    """Guards against LiteRT, which reads a scale for each channel of a depthwise kernel, beyond a single one."""
    pixels = keras.Input((6, 6, 1))
    x = keras.layers.Conv2D(128, 1, use_bias=False)(pixels)
    x = keras.layers.DepthwiseConv2D(3, bias_initializer="random_normal")(x)
    x = keras.layers.Dense(7, "softmax")(keras.layers.GlobalAveragePooling2D()(x))
    core, images = keras.Model(pixels, x), stripes(32, size=6).images
    model = to_tflite(core, precision, calibration=images, variant=Variant("clustered", 12))
    details = litert_interpreter(model).get_tensor_details()
    (kernel,) = (item for item in details if item["dtype"] == np.int8 and item["shape"].tolist() == [1, 3, 3, 128])
    scales = kernel["quantization_parameters"]["scales"]
    assert len(scales) == 128 and len(set(scales)) == 1
    outputs = TFLiteGraph(litert_interpreter(model)).run(images)
    # steps of 1/127 in kernel and activations, over nine products and a mean, are well below 0.01
    np.testing.assert_allclose(outputs, core(images / np.float32(255)).numpy(), atol=0.01)


@pytest.mark.parametrize("name", [name for name in EXPORTED_FILES if name.startswith("channels")])
def test_channels_are_removed_from_the_file(compressed: Exported, name: str) -> None:
    """Guards against zeros in tensors of the dense shape, which save no time."""
    run, _ = compressed
    inside = contents.read(run.artifacts / name)
    pruned, dense = (variants.open_core(run, name, weights=_weights(compressed)) for name in ("channels-25", "dense"))
    assert multiply_adds(pruned) <= 0.75 * multiply_adds(dense)
    assert sum(kernel.size for kernel in inside.kernels.values()) == sum(
        kernel.shape.num_elements() for kernel in pruned.trainable_weights if "kernel" in kernel.name
    )
    assert inside.sparsity < 0.05


@pytest.mark.parametrize(
    ("file", "claim", "message"),
    [
        ("channels-25.float32.onnx", "pruned-60", "expected 60% of the weights zero"),
        ("channels-25.int8.tflite", "clustered-12", "expected at most 12 different weights in a kernel"),
    ],
)
def test_a_file_unlike_its_variant_is_refused(compressed: Exported, file: str, claim: str, message: str) -> None:
    """Guards the check, for both formats."""
    with pytest.raises(VerificationError, match=rf"^{file}: {message}"):
        variant_checks.check(contents.read(compressed[0].artifacts / file), claim, file)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
def test_values_are_counted_in_every_precision(dtype: type) -> None:
    """Guards against numpy's sort of float16, which found 34 different values among 16 on a CPU with AVX-512."""
    kernel: Any = np.random.default_rng(1).choice(np.arange(-8, 8), (3, 3, 64, 64)).astype(dtype)
    inside = contents.StoredTensors({"kernel": kernel}, (), None)
    variant_checks.check(inside, "clustered-16", "x.tflite")
    with pytest.raises(VerificationError, match="at most 15 different weights in a kernel, found 16"):
        variant_checks.check(inside, "clustered-15", "x.tflite")


def test_a_file_of_another_size_is_refused(compressed: Exported) -> None:
    """Guards the check for channels: a file must have its network's number of weights."""
    run, _ = compressed
    dense = variants.open_core(run, "dense", weights=_weights(compressed))
    inside = contents.read(run.artifacts / "channels-25.int8.onnx")
    with pytest.raises(VerificationError, match=r"^x\.onnx: expected 4920 weights, found 2496"):
        variant_checks.check_size(inside, pruning.weight_count(dense), "x.onnx")


def test_a_resumed_variant_equals_an_uninterrupted_one(compressed: Exported, tmp_path: Path) -> None:
    """Guards reproducible weights: bit-equal when stopped after an epoch and made alone."""
    run = with_recipe(RunFolder(compressed[0].path), tmp_path / "run", VARIANTS_RECIPE)
    for path in run.variants.iterdir():
        path.unlink()
    _stop_and_resume(run, "pruned-60")
    resumed, uninterrupted = (np.load(folder.variants / "pruned-60.npz") for folder in (run, compressed[0]))
    for key in uninterrupted.files:
        np.testing.assert_array_equal(resumed[key], uninterrupted[key])


def _stop_and_resume(run: RunFolder, name: str) -> None:
    """Make a variant with a stop in its second epoch of two."""
    train = data.split(stripes(), run.recipe().data).train
    weights = run.training_record()["weights"]

    def stop(share: float, note: str) -> None:
        if share > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        variants.prepare(run, name, train, weights=weights, report=stop)
    assert (run.variants / f"{name}.unfinished.npz").is_file()
    shares: list[float] = []
    variants.prepare(run, name, train, weights=weights, report=lambda share, note: shares.append(share))
    assert not (run.variants / f"{name}.unfinished.npz").exists() and min(shares) > 0.5


@pytest.fixture(scope="module")
def with_dropout(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run of a tiny network with a Dropout and a SpatialDropout2D layer."""
    x = pixels = keras.Input((16, 16, 1), name="pixels")
    x = keras.layers.Dropout(0.3, name="drop")(keras.layers.Conv2D(8, 3, name="conv", activation="relu")(x))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.SpatialDropout2D(0.2, name="thin")(x))
    core = keras.Model(pixels, keras.layers.Dense(7, "softmax", name="logits")(x), name="core")
    compression = Compression(("pruned-60", "qat"), epochs=2, learning_rate=0.02)
    recipe = dataclasses.replace(SMALL, network=Network(name="foreign"), compression=compression)
    return create_run(core, recipe, stripes(), tmp_path_factory.mktemp("dropout") / "run")


@pytest.mark.parametrize("name", ["pruned-60", "qat"])
def test_a_resumed_variant_with_dropout_equals_another(with_dropout: RunFolder, tmp_path: Path, name: str) -> None:
    """Guards against Keras's own generator, which restarts with the process, also in quantization-aware layers."""
    train, runs = data.split(stripes(), SMALL.data).train, []
    for folder in ("uninterrupted", "resumed"):
        runs.append(RunFolder(shutil.copytree(with_dropout.path, tmp_path / folder)))
    weights = with_dropout.training_record()["weights"]
    variants.prepare(runs[0], name, train, weights=weights, report=lambda share, note: None)
    _stop_and_resume(runs[1], name)
    uninterrupted, resumed = (np.load(run.variants / f"{name}.npz") for run in runs)
    for key in uninterrupted.files:
        np.testing.assert_array_equal(resumed[key], uninterrupted[key])


def test_the_identity_of_a_variant_is_stable(compressed: Exported, tmp_path: Path) -> None:
    """Guards variants in run folders: with another identity they would be fine-tuned again."""
    run = with_recipe(compressed[0], tmp_path / "run", VARIANTS_RECIPE)
    identity = "139ae759347b3f10e54af4f80a6195bacb9b7d0ac63c80003868925e3b3e89c1"
    assert variants._identity(run, "clustered-12", "0" * 64) == identity
