"""Temperature scaling: the fit, the folding into the last layer, and an export with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tiny_export import SMALL, one_thread, with_recipe
from tiny_training import stripes

from feredge.api.exporting import ExportResult
from feredge.benchmark.thresholds import validation_images
from feredge.commands.export import print_export
from feredge.data import split
from feredge.data.validation import temperature_and_threshold_images
from feredge.errors import RecipeError, RunError
from feredge.export import calibration, exporter
from feredge.export.temperature import choose_temperature, fit_temperature, fold_temperature, scale_probabilities
from feredge.inference.artifact import Manifest
from feredge.inference.runtimes import open_artifact
from feredge.recipes.schema import Export, Schedule
from feredge.report.export_checks import temperature_scaling
from feredge.run import RunFolder

FILES = ("float32.onnx", "int8.tflite")
VARIANTS = ("dense", "dense-mirror")
FLIPPING = dataclasses.replace(SMALL, augmentation=dataclasses.replace(SMALL.augmentation, flip=True))
SCALED = Export(FILES, calibration_images=64, temperature_scaling=True)


def simulated(temperature: float, images: int = 4000, views: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of a network whose logits are `temperature` times too large, and labels."""
    random = np.random.default_rng(1)
    logits = random.normal(size=(images, 5)) * 2
    exact = scale_probabilities(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), 1.0)
    labels = (random.random((images, 1)) > exact.cumsum(1)).sum(1)
    return np.stack([scale_probabilities(exact, 1 / temperature).astype(np.float32)] * views), labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_known_logits(temperature: float) -> None:
    """Guards the fit: 4,000 labels drawn by the exact probabilities give the factor within 5%."""
    probabilities, labels = simulated(temperature)
    assert fit_temperature(probabilities, labels) == pytest.approx(temperature, rel=0.05)
    assert fit_temperature(*simulated(temperature, views=2)) == pytest.approx(temperature, rel=0.05)


def test_it_is_folded_only_where_it_helps() -> None:
    """Guards a calibrated network against a change, also one that was scaled before, and an overconfident from none."""
    scaling = choose_temperature(*simulated(2.5))
    assert scaling.temperature == pytest.approx(2.5, rel=0.05) and scaling.scaled_error < 0.03 < scaling.error
    probabilities, labels = simulated(2.5)
    again = choose_temperature(scale_probabilities(probabilities, scaling.temperature).astype(np.float32), labels)
    assert again.temperature == 1


def test_extreme_probabilities_are_finite() -> None:
    """Guards the logarithm against zeros, and the search against a likelihood without a minimum."""
    probabilities, labels = np.eye(4, dtype=np.float32)[None].repeat(50, 1), np.arange(200) // 50
    assert np.isfinite(scale_probabilities(probabilities, 0.05)).all()
    assert 0.05 <= fit_temperature(probabilities, labels) <= 20


def exported_twice(trained: RunFolder, folder: Path, variants: tuple[str, ...]) -> tuple[RunFolder, RunFolder]:
    """Return a run exported without, and one exported with temperature scaling."""
    runs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "process_pool", one_thread)
        patch.setattr(calibration, "MIN_TEMPERATURE_IMAGES", 40)
        for name, settings in (("plain", dataclasses.replace(SCALED, temperature_scaling=False)), ("scaled", SCALED)):
            run = with_recipe(trained, folder / name, FLIPPING)
            exporter.export(run, stripes(), settings=settings, variants=variants).require_complete()
            runs.append(run)
    return runs[0], runs[1]


@pytest.fixture(scope="module")
def exports(trained: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder]:
    """Give both runs."""
    return exported_twice(trained, tmp_path_factory.mktemp("temperature"), VARIANTS)


@pytest.mark.long
def test_quantization_aware_training(trained: RunFolder, tmp_path: Path) -> None:
    """Guards the ranges of quantization-aware training, which are scaled with the weights."""
    exports = exported_twice(trained, tmp_path, ("qat",))
    for file in FILES:
        test_files_have_scaled_probabilities(exports, "qat", file)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_files_have_scaled_probabilities(exports: tuple[RunFolder, RunFolder], variant: str, file: str) -> None:
    """Guards the folding in every kind of file, also in the ranges of quantization-aware training."""
    plain, scaled = (run.artifacts / f"{variant}.{file}" for run in exports)
    metrics = next(entry for entry in Manifest.read(scaled.parent).entries if entry.file == scaled.name).verification
    temperature = metrics["temperature"]
    assert temperature != 1 and metrics["scaled_calibration_error"] < metrics["calibration_error"]
    images = stripes(140, seed=5).images
    before, after = (open_artifact(path).predict(images) for path in (plain, scaled))
    assert (before.argmax(1) == after.argmax(1)).mean() >= 0.95  # near ties, by the rounding
    if variant == "dense":  # the average over views is not a softmax
        tolerance = 1e-5 if file == "float32.onnx" else 0.1  # steps of the logits in int8
        assert np.abs(scale_probabilities(before, temperature) - after).max() < tolerance
    if variant == "dense" and file == "float32.onnx":
        assert np.abs(before - after).max() > 0.01


def test_thresholds_get_the_other_images(exports: tuple[RunFolder, RunFolder]) -> None:
    """Guards the guarantee of thresholds: no image chose both the temperature and a threshold."""
    (plain, *_), (scaled, *_) = (Manifest.read(run.artifacts).entries for run in exports)
    validation = split(stripes(), SMALL.data).validation
    first, second = temperature_and_threshold_images(validation, seed=SMALL.data.seed)
    assert not {*first.rows} & {*second.rows} and {*first.rows} | {*second.rows} == {*validation.rows}
    assert scaled.verification["temperature_images"] == len(first)
    assert np.array_equal(validation_images(stripes(), SMALL, scaled).rows, second.rows)
    assert len(validation_images(stripes(), SMALL, plain)) == len(validation)


def test_the_command_prints_it(exports: tuple[RunFolder, RunFolder], capsys: pytest.CaptureFixture[str]) -> None:
    """Guards the lines: one per variant, with both errors; none without the option."""
    plain, scaled = exports
    print_export(ExportResult(plain, Manifest.read(plain.artifacts)))
    assert "calibration error" not in capsys.readouterr().out
    print_export(ExportResult(scaled, Manifest.read(scaled.artifacts)))
    lines = [line for line in capsys.readouterr().out.splitlines() if "expected calibration error" in line]
    assert [line.split(":")[0] for line in lines] == list(VARIANTS) and "on 42 validation images" in lines[0]


def test_the_report_shows_it(exports: tuple[RunFolder, RunFolder], tmp_path: Path) -> None:
    """Guards the section: one row per variant, none without the option or for a damaged manifest."""
    plain, scaled = (temperature_scaling(run.artifacts) for run in exports)
    assert not plain and scaled.count('<th scope="row">') == len(VARIANTS)
    (tmp_path / "manifest.json").write_text('{"artifacts": [1, {"card": {}, "verification": {"temperature": "x"}}]}')
    assert not temperature_scaling(tmp_path)


def test_unusable_settings(trained: RunFolder, tmp_path: Path) -> None:
    """Guards the validation images: too few, those that chose the weights, or two uses of them."""
    run = with_recipe(trained, tmp_path / "run", SMALL)
    with pytest.raises(RunError, match="at least 200 validation images, of which half choose the temperature"):
        exporter.export(run, stripes(), settings=SCALED)
    splits = split(stripes(), SMALL.data)
    with pytest.raises(RunError, match=r"export\.temperature_scaling: expected .* found ones that chose the weights"):
        calibration.temperature_images(splits, dataclasses.replace(SMALL, schedule=Schedule(keep_weights="best")))
    with pytest.raises(RecipeError, match=r"one of export\.max_drop and export\.temperature_scaling"):
        exporter.export(run, stripes(), settings=dataclasses.replace(SCALED, max_drop=1.0))


def test_a_network_whose_last_layer_does_not_scale_the_logits() -> None:
    """Guards against a wrong folding: of a tanh between the last layer and the softmax."""
    from feredge.keras import keras

    pixels = keras.Input((4, 4, 1))
    dense = keras.layers.Dense(3, activation="tanh", kernel_initializer="ones")(keras.layers.Flatten()(pixels))
    core = keras.Model(pixels, keras.layers.Softmax()(dense))
    core.layers[-2].set_weights([np.random.default_rng(1).normal(size=(16, 3)), np.zeros(3)])
    with pytest.raises(RecipeError, match="a layer with weights and a softmax, found dense"):
        fold_temperature(core, None, 3.0)
