"""Colour: from RGB pictures to files that take RGB, through every step."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from tiny_training import RECIPE, with_training

from feredge.benchmark import Results
from feredge.benchmark.corruptions import CORRUPTION_STRENGTHS, corrupt
from feredge.bundles.targets import bundle, check_bundle
from feredge.cli import main
from feredge.data import load
from feredge.errors import DataError, RecipeError
from feredge.export.c.compiler import has_zig
from feredge.inference.artifact import Manifest
from feredge.inference.contract import InputContract
from feredge.inference.predictor import Predictor
from feredge.inspection.probes import probe_images
from feredge.recipes import check, dump
from feredge.recipes.schema import Compression, DataView, Export, Recipe
from feredge.run import RunFolder

pytest.importorskip("tensorflow")

COLORS = {"blue": (90, 110, 230), "green": (60, 150, 60), "red": (200, 80, 80)}  # RGB of similar luminance
RGB_RECIPE = dataclasses.replace(
    with_training(RECIPE, epochs=3, learning_rate=0.05),
    data=DataView(size=16, channels=3),
    compression=Compression(variants=("dense", "qat"), epochs=1, learning_rate=0.02),
    export=Export(("int8.tflite", "float32.onnx", "int8.onnx"), calibration_images=128),
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write class folders of noisy pictures that only colour tells apart."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split_name, count in (("train", 80), ("test", 20)):
        for name, color in COLORS.items():
            folder = root / split_name / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(color + rng.normal(0, 40, (20, 20, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / f"{number}.png"), pixels[:, :, ::-1])
    return root


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Train, export and benchmark a colour network by its command."""
    folder = tmp_path_factory.mktemp("colour")
    (folder / "rgb.toml").write_text(dump(RGB_RECIPE))
    words = ["run", str(folder / "rgb.toml"), "--data", str(pictures), "--out", str(folder / "run"), "--quick"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    return RunFolder(folder / "run")


def test_every_file_takes_rgb_and_is_as_accurate(run: RunFolder) -> None:
    """Guards the chain: contracts, verification, and accuracies in every runtime; baselines see colour too."""
    entries = Manifest.read(run.artifacts).require_complete().entries
    assert len(entries) == 6 and {entry.card.contract for entry in entries} == {InputContract(16, 16, 3)}
    results = Results.read(run.results)
    assert [row.failure for row in results.rows] == [None] * len(results.rows)
    accuracies = {row.name: row.accuracy.accuracy for row in results.rows if row.accuracy}
    assert len(accuracies) == 9 and min(accuracies.values()) > 0.9


def test_the_predictor_tells_rgb_from_bgr(run: RunFolder) -> None:
    """Guards the order of the channels on the device: exchanged ones turn red pictures into blue ones."""
    red = np.full((30, 30, 3), COLORS["red"], np.uint8)
    with Predictor(run.path) as predictor:
        assert predictor(red, color="rgb").label == predictor(red[:, :, ::-1]).label == "red"
        assert predictor(red).label == "blue"


@pytest.mark.parametrize("target", ["web", "android", "ios", "executorch"])
def test_bundles(run: RunFolder, tmp_path: Path, target: str) -> None:
    """Guards trained RGB networks on devices: each self-test that runs here has the reference runtime's answers."""
    if target in ("ios", "executorch"):
        pytest.importorskip({"ios": "coremltools"}.get(target, target))
    elif not has_zig():
        pytest.skip("ziglang is not installed")
    checks, tests = check_bundle(bundle(target, run.path, tmp_path / target))
    assert not [check.failure for check in checks if check.failure]
    assert not [test.failure for test in tests if test.failure] and len(tests) >= 2


def test_the_export_is_read_back(run: RunFolder, pictures: Path, tmp_path: Path) -> None:
    """Guards the import of a folder of colour files: its network takes RGB, and its float32 file is the same."""
    words = [
        "export",
        str(run.artifacts),
        "--data",
        str(pictures),
        "--out",
        str(tmp_path / "again"),
        "--files",
        "float32.onnx",
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    first, second = (Manifest.read(folder).entries for folder in (run.artifacts, tmp_path / "again" / "artifacts"))
    verified = {entry.file: entry.verification for entry in first}["dense.float32.onnx"]
    assert second[0].card.contract.channels == 3 and second[0].verification["agreement"] == verified["agreement"]


def test_a_gray_recipe_says_that_it_sees_no_colour(pictures: Path, tmp_path: Path) -> None:
    """Guards the warning, once, and that the training goes on."""
    gray = dataclasses.replace(with_training(RGB_RECIPE, epochs=1), data=DataView(size=16))
    (tmp_path / "gray.toml").write_text(dump(gray))
    done = CliRunner().invoke(
        main, ["train", str(tmp_path / "gray.toml"), "--data", str(pictures), "--out", str(tmp_path / "o")]
    )
    assert done.exit_code == 0 and done.output.count("takes gray images") == 1


def test_images_of_other_channels_are_refused(tmp_path: Path) -> None:
    """Guards a Dataset of one's own."""
    from feredge.train import train

    with pytest.raises(DataError, match="expected images of 16x16x3, found 16x16x1"):
        train(RGB_RECIPE, load("drawn-shapes:40", size=16), tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data": DataView(channels=2)}, "data.channels of 1"),
        (
            {"data": DataView(channels=3), "network": dataclasses.replace(RECIPE.network, input_channels=3)},
            "network.input_channels of 1",
        ),
    ],
)
def test_invalid_channels(changes: dict[str, object], expected: str) -> None:
    """Guards the rules of the recipe."""
    with pytest.raises(RecipeError, match=expected):
        check(dataclasses.replace(RECIPE, **changes), "recipe")  # type: ignore[arg-type]


def test_a_gray_recipe_keeps_its_digest() -> None:
    """Guards checkpoints and cards of gray networks: the key is left out at its default."""
    assert "channels" not in Recipe("x").to_json()["data"]


@pytest.mark.parametrize("kind", CORRUPTION_STRENGTHS)
def test_corruptions_treat_channels_alike(kind: str) -> None:
    """Guards RGB: shape and colour cast stay, also through JPEG, which stores luma and chroma."""
    flat = np.full((2, 32, 32, 3), (180, 90, 40), np.uint8)
    corrupted = corrupt(flat, kind, 1, seed=1)
    assert corrupted.shape == flat.shape
    red, green, blue = corrupted.mean(axis=(0, 1, 2))
    assert red > green + 30 and green > blue + 20


def test_probe_images_differ_between_channels() -> None:
    """Guards `feredge verify` of a colour file: a file with exchanged channels has other outputs."""
    images = probe_images(InputContract(48, 48, 3))
    assert images.shape == (64, 48, 48, 3)
    assert np.array_equal(images[..., :1], probe_images(InputContract(48, 48, 1)))
    assert not np.array_equal(images[..., 0], images[..., 2])
