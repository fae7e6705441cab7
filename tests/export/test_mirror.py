"""The variant `dense-mirror`: one image in, the network on it and its mirror image, in every format."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from tiny_export import SMALL, one_thread, with_recipe
from tiny_training import stripes

from feredge.errors import RecipeError, VerificationError
from feredge.export import conversion, exporter
from feredge.export.c.compiler import has_compiler
from feredge.inference.artifact import RUNTIMES_FILE, Manifest
from feredge.inference.runtimes import open_artifact
from feredge.inspection import macs
from feredge.recipes.schema import Export
from feredge.run import RunFolder

IMAGES = stripes(70, seed=5).images
FILES = ("float32.tflite", "int8.tflite", "float32.onnx", "float16.onnx", "int8.onnx", "int8.ort", "int8.c")
VARIANTS = ("dense", "dense-mirror")
FLIPPING = dataclasses.replace(SMALL, augmentation=dataclasses.replace(SMALL.augmentation, flip=True))


@pytest.fixture(scope="module")
def exported(trained: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Give a run with every format of both variants."""
    run = with_recipe(trained, tmp_path_factory.mktemp("mirror") / "run", FLIPPING)
    settings = Export(FILES if has_compiler() else FILES[:-1], calibration_images=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "process_pool", one_thread)
        exporter.export(run, stripes(), settings=settings, variants=VARIANTS).require_complete()
    return run


@pytest.mark.parametrize("file", FILES)
def test_a_file_averages_both_views_of_an_image(exported: RunFolder, file: str) -> None:
    """Guards the average in every format, of any batch: the outputs of the dense file on both views, rounded."""
    path = exported.artifacts / f"dense-mirror.{file}"
    if not path.exists():
        pytest.skip("no C compiler")
    dense, mirror = open_artifact(exported.artifacts / f"dense.{file}"), open_artifact(path)
    views = [dense.predict(np.ascontiguousarray(IMAGES[:, :, ::step])) for step in (1, -1)]
    expected = np.mean(views, axis=0)
    step = 1 / 256 if file in ("int8.tflite", "int8.c") else 1e-6  # an int8 output has 256 values
    for images, outputs in ((IMAGES, expected), (IMAGES[:1], expected[:1]), (IMAGES[3:5], expected[3:5])):
        assert np.abs(mirror.predict(images) - outputs).max() <= step / 2 + 1e-6
    mirrored = mirror.predict(np.ascontiguousarray(IMAGES[:, :, ::-1]))
    assert np.abs(mirrored - mirror.predict(IMAGES)).max() < 1e-6


def test_opencv_does_not_run_an_int8_file(exported: RunFolder) -> None:
    """Guards parity from OpenCV's int8 kernels, whose outputs for two views depend on uninitialised memory."""
    parity = json.loads((exported.artifacts / RUNTIMES_FILE).read_text())["artifacts"]
    assert "mirror variant" in parity["dense-mirror.int8.onnx"]["opencv-dnn"]["failed"]
    assert parity["dense-mirror.float32.onnx"]["opencv-dnn"]["agreement"] == 1.0


def test_c_and_tflite_agree_in_every_bit(exported: RunFolder) -> None:
    """Guards the rounding of the average in C, where a half goes to the even value as in TensorFlow Lite."""
    path = exported.artifacts / "dense-mirror.int8.c"
    if not path.exists():
        pytest.skip("no C compiler")
    tflite = open_artifact(exported.artifacts / "dense-mirror.int8.tflite")
    np.testing.assert_array_equal(open_artifact(path).predict(IMAGES), tflite.predict(IMAGES))


def test_the_manifest_counts_both_views(exported: RunFolder) -> None:
    """Guards the cost that a file states: the weights of one network, the multiply-adds of two."""
    entries = {entry.file: entry for entry in Manifest.read(exported.artifacts).entries}
    for file in FILES:
        if f"dense-mirror.{file}" not in entries:
            continue
        dense, mirror = (entries[f"{variant}.{file}"] for variant in VARIANTS)
        assert mirror.facts["parameters"] == dense.facts["parameters"]
        assert mirror.facts["multiply_adds"] == 2 * dense.facts["multiply_adds"]
        assert abs(mirror.bytes - dense.bytes) < 3000
        one, both = (macs.count(exported.artifacts / f"{variant}.{file}") for variant in VARIANTS)
        if one is not None:  # none of .ort
            assert both == macs.Macs(2 * one.floating, 2 * one.integer)


def test_a_file_that_depends_on_the_mirroring_fails(
    trained: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the name: a file that runs one view is no mirror variant."""
    monkeypatch.setattr(exporter, "process_pool", one_thread)
    monkeypatch.setattr(conversion, "VIEWS", 1)
    monkeypatch.setattr("feredge.export.onnx.mirror.with_mirror_averaging", lambda model: model)
    run = with_recipe(trained, tmp_path / "run", FLIPPING)
    settings = Export(("float32.onnx",), calibration_images=64)
    with pytest.raises(VerificationError, match="the same probabilities for a mirror image"):
        exporter.export(run, stripes(), settings=settings, variants=VARIANTS[1:])


def test_only_for_networks_trained_on_mirror_images(trained: RunFolder, tmp_path: Path) -> None:
    """Guards letters and digits: a network that never saw a mirror image has no mirror variant."""
    recipe = dataclasses.replace(SMALL, augmentation=dataclasses.replace(SMALL.augmentation, flip=False))
    run = with_recipe(trained, tmp_path / "run", recipe)
    with pytest.raises(RecipeError, match=r"expected augmentation\.flip with the variant dense-mirror"):
        exporter.export(run, stripes(), variants=VARIANTS)
