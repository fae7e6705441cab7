"""Thresholds of abstention: the statistics, the guarantee, which images may choose, and `feredge calibrate`."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from device_models import card, expected, write_onnx, write_tflite

import feredge
from feredge.benchmark.statistics import binomial_tail, clopper_pearson_lower_bound
from feredge.benchmark.thresholds import choose_threshold, validation_images
from feredge.cli import main
from feredge.data import Dataset, drawn, split
from feredge.errors import ArtifactError, DataError, RunError
from feredge.inference.abstention import read_thresholds
from feredge.inference.artifact import Entry, Manifest, manifest_entry
from feredge.inference.contract import CLASSES
from feredge.recipes.schema import DataView, Recipe, Schedule


def probabilities_of(confidence: np.ndarray) -> np.ndarray:
    """Return probabilities of three classes, the first of which has the given confidence of at least 1/2."""
    return np.stack([confidence, 1 - confidence, np.zeros_like(confidence)], 1).astype(np.float32)


def simulated(random: np.random.Generator, images: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and labels of predictions that are correct with the probability that they state."""
    confidence = random.uniform(0.5, 1, images)
    return probabilities_of(confidence), np.where(random.random(images) < confidence, 0, 1)


def test_binomial_tail_and_bound() -> None:
    """Guards against an approximation: values of the exact distribution, by fractions and from tables."""
    assert binomial_tail(3, 4, 0.5) == pytest.approx(5 / 16)
    assert binomial_tail(0, 4, 0.9) == 1 and binomial_tail(4, 4, 0.9) == pytest.approx(0.9**4)
    assert binomial_tail(40, 300, 0.999) == 1, "its first terms are below the smallest number"
    assert clopper_pearson_lower_bound(10, 10, 0.95) == pytest.approx(0.05 ** (1 / 10), abs=1e-5)
    assert clopper_pearson_lower_bound(81, 263, 0.975) == pytest.approx(0.2527, abs=1e-4)  # of a two-sided 95%
    assert clopper_pearson_lower_bound(0, 10, 0.95) == 0


def test_the_promise_is_kept() -> None:
    """Guards the guarantee: over 50 samples at most 5% of thresholds miss it (16% leaves room for chance)."""
    random = np.random.default_rng(1)
    missed = found = 0
    for _ in range(50):
        level = choose_threshold(*simulated(random), 0.9)
        found += level.threshold is not None
        missed += (
            level.threshold is not None and (1 + level.threshold) / 2 < 0.9
        )  # the mean confidence, and so the precision, above the threshold
    assert missed <= 8 and found >= 45


def test_the_threshold_is_low_where_many_are_right() -> None:
    """Guards the use: no needlessly few answers, all where all are right, and the best bound where none is enough."""
    random = np.random.default_rng(2)
    level = choose_threshold(*simulated(random, 20_000), 0.9)
    assert level.threshold is not None and 0.8 <= level.threshold <= 0.84 and level.lower_bound >= 0.9
    right = probabilities_of(random.uniform(0.5, 1, 500))
    assert choose_threshold(right, np.zeros(500, int), 0.95).threshold == 0
    wrong = choose_threshold(right, np.ones(500, int), 0.8)
    assert (wrong.threshold, wrong.coverage, wrong.lower_bound) == (None, 0, 0)
    with pytest.raises(DataError, match="at least 100 labelled images"):
        choose_threshold(right[:99], np.zeros(99, int), 0.8)


def test_only_images_that_chose_nothing_may_choose() -> None:
    """Guards against images that chose the epoch or float layers, the test images, and against none at all."""
    dataset, recipe = drawn(700), Recipe(name="r", data=DataView())
    entry = Entry("dense.int8.onnx", "0" * 64, 1, card())
    validation = validation_images(dataset, recipe, entry)
    assert np.array_equal(validation.rows, split(dataset, recipe.data).validation.rows) and len(validation)
    bad = {
        "validation_is_test": dataclasses.replace(recipe, data=DataView(validation_is_test=True)),
        "chose the weights": dataclasses.replace(recipe, schedule=Schedule(keep_weights="best")),
    }
    for reason, changed in bad.items():
        with pytest.raises(RunError, match=reason):
            validation_images(dataset, changed, entry)
    bounded = dataclasses.replace(entry, verification={"validation_drop": 0.5})
    with pytest.raises(RunError, match="float32 layers"):
        validation_images(dataset, recipe, bounded)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Write a folder of exported files."""
    paths = [
        write_onnx(tmp_path / "dense.float32.onnx", with_card=card(source={"data": "ab" * 32})),
        write_tflite(tmp_path / "dense.float32.tflite", with_card=card()),
    ]
    Manifest(tuple(manifest_entry(path, card(source={"data": "ab" * 32}), {}) for path in paths)).write(tmp_path)
    return tmp_path


def labelled(images: int = 700, digest: str = "cd" * 32) -> Dataset:
    """Return random images, of which the small model classifies those with at least .6 rightly and the others never."""
    random = np.random.default_rng(3)
    pixels = random.integers(0, 256, (images, 48, 48), np.uint8)
    scores = expected(pixels[..., None])
    labels = np.where(scores.max(1) >= 0.6, scores.argmax(1), (scores.argmax(1) + 1) % 7).astype(np.int8)
    return Dataset(pixels[..., None], labels, np.full(images, ""), np.arange(images), CLASSES, digest, "images")


def test_each_file_gets_the_thresholds_of_its_own_predictions(export: Path) -> None:
    """Guards the files: thresholds by digest, named by the manifest, and the same of the same network."""
    result = feredge.calibrate(export, images=labelled(), precisions=(0.9, 0.99))
    manifest = Manifest.read(export)
    assert set(result.thresholds) == {entry.sha256 for entry in manifest.entries} and manifest.thresholds
    assert read_thresholds(export) == result.thresholds
    onnx, tflite = result.thresholds.values()
    assert onnx.levels == tflite.levels
    assert [level.precision for level in onnx.levels] == [0.9, 0.99]
    assert onnx.levels[0].threshold is not None and 0.5 <= onnx.levels[0].threshold <= 0.6
    assert len(result.to_dataframe()) == 4


def test_unusable_images(export: Path) -> None:
    """Guards against the images of the training, no images, and a precision that is no fraction."""
    with pytest.raises(DataError, match="was not trained on, found those it was"):
        feredge.calibrate(export, images=labelled(digest="ab" * 32))
    with pytest.raises(RunError, match="expected labelled images"):
        feredge.calibrate(export)
    with pytest.raises(DataError, match="precisions between 0 and 1, found 90"):
        feredge.calibrate(export, images=labelled(), precisions=(90,))
    assert not (export / "thresholds.json").exists() and not Manifest.read(export).thresholds


def test_the_command(export: Path, tmp_path: Path) -> None:
    """Guards its lines, also for a precision that no threshold reaches, and its exit codes."""
    done = CliRunner().invoke(main, ["calibrate", str(export), "--images", "drawn:300", "--precision", "0.999"])
    assert done.exit_code == 0
    assert re.search(r"dense\.float32\.onnx +300 +0\.999 +none +0% +0\.\d{3}", done.output)
    assert "none: no threshold was shown to reach the precision" in done.output
    done = CliRunner().invoke(main, ["calibrate", str(export), "--images", "drawn:300", "--json"])
    assert [len(table["levels"]) for table in json.loads(done.stdout).values()] == [3, 3]
    assert CliRunner().invoke(main, ["calibrate", str(export)]).exit_code == 2
    assert CliRunner().invoke(main, ["calibrate", str(tmp_path / "none"), "--images", "drawn"]).exit_code == 2


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 1}', '{"schema": 1, "files": {"a": {"levels": [{}]}}}', "[" * 9999]
)
def test_damaged_thresholds(tmp_path: Path, text: str) -> None:
    """Guards against text of anyone in place of thresholds: one line."""
    with pytest.raises(ArtifactError, match="found none"):
        read_thresholds(tmp_path)
    (tmp_path / "thresholds.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"thresholds\.json: expected"):
        read_thresholds(tmp_path)
