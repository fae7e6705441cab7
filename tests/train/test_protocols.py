"""Training by a published protocol: grouped classes, best weights, early stopping, repeats, and resuming."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from tiny_training import epochs_of, stripes

import feredge.recipes as recipes
from feredge.errors import DataError, RecipeError
from feredge.recipes.schema import Augmentation, DataView, Network, Recipe, Schedule, Training
from feredge.run import RunFolder
from feredge.train import load_model, train
from feredge.train.history import HISTORY_COLUMNS

IMAGE_SIZE = 26
PROTOCOL_RECIPE = Recipe(
    name="protocol",
    data=DataView(
        size=IMAGE_SIZE,
        classes=("happy", "rest = sad + angry", "neutral"),
        split="random",
        split_rows="all",
        shares=(0.6, 0.2, 0.2),
        stratified=True,
        drop_duplicates=False,
    ),
    network=Network(name="study-2022-cnn", standardize=True),
    training=Training(
        epochs=9,
        batch_size=16,
        optimizer="nadam",
        learning_rate=2e-3,
        warmup_epochs=0.0,
        weight_decay=0.0,
        ema_decay=0.0,
        repeats=2,
    ),
    schedule=Schedule("constant", min_delta=0.05, lr_patience=1, early_stopping_patience=3, keep_weights="best"),
    augmentation=Augmentation(flip=False, rotate=5.0, erase=0.0, zoom=0.1, shear=2.0),
)


class _StoppedError(Exception):
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Give a finished run of PROTOCOL_RECIPE with its repeat."""
    return train(PROTOCOL_RECIPE, stripes(size=IMAGE_SIZE), tmp_path_factory.mktemp("protocol") / "run")


def test_a_resumed_protocol_equals_an_uninterrupted_one(whole: RunFolder, tmp_path: Path) -> None:
    """Guards resuming with dropout, Nadam, rate reductions, best weights, early stopping and repeats."""
    run = RunFolder(tmp_path / "run")
    for stop_at in (1.5, 2.5, 4.5, 5.0):

        def stopping(task: str, done: float, total: float, note: str = "", stop_at: float = stop_at) -> None:
            if done > stop_at:
                raise _StoppedError

        with pytest.raises(_StoppedError):
            train(PROTOCOL_RECIPE, stripes(size=IMAGE_SIZE), run.path, progress=stopping)
    train(PROTOCOL_RECIPE, stripes(size=IMAGE_SIZE), run.path)
    for name in (".", "repeats/seed-2"):
        expected, resumed = RunFolder(whole.path / name), RunFolder(run.path / name)
        assert epochs_of(resumed) == epochs_of(expected)
        assert resumed.training_record()["weights"] == expected.training_record()["weights"]
    assert run.spread.read_text() == whole.spread.read_text()


def test_the_schedule_takes_effect(whole: RunFolder) -> None:
    """Guards the test above against a protocol without events, and the kept epoch against the history."""
    result = whole.training_record()
    rows = [[float(value) for value in row] for row in epochs_of(whole)]
    assert rows[-1][1] < rows[0][1]  # the rate was lowered
    best = int(result["kept_epoch"]) - 1
    accuracy = HISTORY_COLUMNS.index("validation_accuracy")
    assert result["validation"]["accuracy"] == pytest.approx(rows[best][accuracy], rel=1e-5)
    assert result["epochs"] == len(rows) and best < len(rows) - 1
    assert result["chosen_on"] == "validation"


def test_the_run_has_the_recipes_classes(whole: RunFolder) -> None:
    """Guards later steps, which take the classes from data.json and the model from float.keras."""
    assert whole.data()["classes"] == ["happy", "rest", "neutral"]
    assert list(whole.data()["splits"]["test"]) == ["happy", "rest", "neutral"]
    model = load_model(whole)
    assert model.input_shape == (None, IMAGE_SIZE, IMAGE_SIZE, 1) and model.output_shape == (None, 3)


def test_stored_predictions_are_the_models(whole: RunFolder) -> None:
    """Guards predictions.npz: rows, labels and probabilities are of the same images."""
    with np.load(whole.predictions) as stored:
        dataset = stripes(size=IMAGE_SIZE)
        probabilities = load_model(whole).predict(dataset.images[stored["rows"]], verbose=0)
        np.testing.assert_allclose(stored["probabilities"], probabilities, atol=1e-5)  # another batch size
        names = stored["classes"][stored["labels"]]
        correct = int((stored["probabilities"].argmax(axis=1) == stored["labels"]).sum())
    assert correct == whole.training_record()["test"]["correct"]
    groups = {"happy": "happy", "sad": "rest", "angry": "rest", "neutral": "neutral"}
    with np.load(whole.predictions) as stored:
        expected = [groups[dataset.classes[label]] for label in dataset.labels[stored["rows"]]]
    assert names.tolist() == expected


def test_repeats_differ_and_are_summarized(whole: RunFolder) -> None:
    """Guards mean and standard deviation, and the number of different trainings."""
    spread = json.loads(whole.spread.read_text())
    other = RunFolder(whole.repeats / "seed-2")
    assert spread["seeds"] == [1, 2] and other.training_record()["weights"] != whole.training_record()["weights"]
    accuracies = [run.training_record()["test"]["accuracy"] for run in (whole, other)]
    assert spread["test"]["accuracies"] == accuracies
    assert spread["test"]["mean"] == pytest.approx(np.mean(accuracies))
    assert spread["test"]["standard_deviation"] == pytest.approx(np.std(accuracies, ddof=1))


def test_early_stopping_needs_validation_images(tmp_path: Path) -> None:
    """Guards an error in one line before any work, without a run folder."""
    dataset = stripes(140, size=IMAGE_SIZE)
    dataset = dataclasses.replace(dataset, usage=np.where(dataset.usage == "Training", "train", "test"))
    recipe = dataclasses.replace(PROTOCOL_RECIPE, data=DataView(size=IMAGE_SIZE, holdout=0.0))
    with pytest.raises(DataError, match=r"expected validation images for schedule\.monitor"):
        train(recipe, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_too_small_for_the_network(tmp_path: Path) -> None:
    """Guards `data.size` against the network's pooling: an error in one line, without a run folder."""
    recipe = dataclasses.replace(PROTOCOL_RECIPE, data=DataView(size=16))
    with pytest.raises(RecipeError, match="large enough for study-2022-cnn, found 16x16"):
        train(recipe, stripes(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["study-2022-ann", "six-class-cnn", "tuned-cnn"])
def test_recipes_train(tmp_path: Path, name: str) -> None:
    """Guards the shipped recipes: one epoch of each file, on a few drawn faces."""
    from feredge.data import drawn

    changes = ["training.epochs=1", "training.repeats=1", "data.limit_per_class=0", "training.batch_size=16"]
    run = train(recipes.load(name, overrides=changes), drawn(140), tmp_path / "run")
    result = run.training_record()
    assert result["parameters"] <= result["trained_parameters"]
    assert load_model(run).input_shape == (None, 48, 48, 1)
