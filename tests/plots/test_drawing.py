"""Plots of a run: complete, not blank, and correct for the stored predictions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import feredge.recipes as recipes
from feredge import data, files
from feredge.errors import RunError
from feredge.plots import classification, draw, epochs, examples, figures
from feredge.predictions import Predictions, read, report, select_images
from feredge.run import RunFolder

HISTORY_CSV = (
    "epoch,rate,train_loss,train_accuracy,validation_loss,validation_accuracy,seconds,images_per_second\n"
    "1,0.1,1.9,0.2,1.8,0.25,3,100\n2,0.1,1.5,0.4,1.6,0.45,3,100\n3,0.1,1.2,0.5,1.7,0.4,3,100\n"
)
FACES = data.drawn(210)


def _predictions(count: int = 42) -> Predictions:
    """Return predictions of the last `count` drawn faces, right for most."""
    rng = np.random.default_rng(0)
    chosen = FACES.take(np.arange(len(FACES) - count, len(FACES)))
    logits = rng.normal(0, 1, (count, 7))
    logits[np.arange(count), chosen.labels] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions(probabilities.astype(np.float32), chosen.labels, chosen.rows, chosen.classes)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Give a folder that holds what a training leaves for the pictures."""
    folder = RunFolder.claim(tmp_path / "run", recipes.load("nano"), FACES)
    files.write_text(folder.history, HISTORY_CSV)
    files.write_json(folder.training, {"weights": "ab" * 32, "kept_epoch": 2})
    _predictions().write(folder.predictions)
    return folder


def test_every_picture_is_drawn(run: RunFolder) -> None:
    """Guards the command: twelve files, each PNG large enough to read and not blank, and the report twice."""
    import cv2

    notes: list[str] = []
    paths = draw(run, FACES, progress=lambda task, done, total, note="": notes.append(note))
    assert len(paths) == len(notes) == 12
    for path in paths:
        if path.suffix == ".png":
            pixels = cv2.imread(str(path))
            assert pixels is not None
            assert min(pixels.shape[:2]) > 150 and len(np.unique(pixels)) > 20, path.name
    table = json.loads((run.path / "pictures" / "classification.json").read_text())
    assert table["accuracy"] == pytest.approx((~_predictions().wrong).mean())


def test_stored_predictions_come_back(run: RunFolder) -> None:
    """Guards rows, labels and names through the file, and the images of the rows."""
    stored, expected = read(run), _predictions()
    np.testing.assert_array_equal(stored.probabilities, expected.probabilities)
    assert stored.classes == expected.classes
    shuffled = FACES.take(np.random.default_rng(1).permutation(len(FACES)))
    np.testing.assert_array_equal(select_images(stored, shuffled), FACES.images[stored.rows])
    with pytest.raises(RunError, match="expected the rows of the predictions"):
        select_images(stored, FACES.take(np.arange(5)))


def test_the_report_counts_as_by_hand() -> None:
    """Guards precision and recall against each other: one class, counted here."""
    predictions = _predictions()
    hits = int(((predictions.labels == 3) & (predictions.predicted == 3)).sum())
    row = report(predictions)["happy"]
    assert row["recall"] == hits / (predictions.labels == 3).sum()
    assert row["precision"] == hits / (predictions.predicted == 3).sum()
    assert "happy" in report(predictions, as_text=True)


def test_classes_without_images_and_networks_without_mistakes(tmp_path: Path) -> None:
    """Guards the corners: a class that no test image has, a perfect network, one image, one epoch, none."""
    predictions = _predictions()
    remaining = predictions.labels != 1
    fewer = dataclasses.replace(
        predictions,
        probabilities=np.eye(7, dtype=np.float32)[predictions.labels[remaining]],
        labels=predictions.labels[remaining],
        rows=predictions.rows[remaining],
    )
    for number, part in enumerate((fewer, _first(fewer, 1))):
        folder = tmp_path / str(number)
        for task in (classification.confusion, classification.class_scores, classification.roc):
            task(folder / f"{task.__name__}.png", part)
        for draw_faces in (examples.grid, examples.singles, examples.mistakes):
            draw_faces(folder / f"{draw_faces.__name__}.png", part, select_images(part, FACES))
        assert {path.stem for path in folder.iterdir()} == {"confusion", "class_scores", "roc", "grid", "singles"}
    classification.confusion(tmp_path / "none.png", _first(fewer, 0))
    epochs.violins(tmp_path / "none.png", {"epoch": np.ones(1)})
    assert not (tmp_path / "none.png").exists()


def _first(predictions: Predictions, count: int) -> Predictions:
    parts = {name: getattr(predictions, name)[:count] for name in ("probabilities", "labels", "rows")}
    return dataclasses.replace(predictions, **parts)


def test_the_surest_mistakes_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the order of mistakes, and that none of them is right."""
    chosen: list[int] = []
    monkeypatch.setattr(examples, "_face", lambda axes, predictions, images, index: chosen.append(int(index)))
    predictions = _predictions()
    examples.mistakes(tmp_path / "m.png", predictions, select_images(predictions, FACES))
    sure = predictions.probabilities.max(axis=1)[chosen]
    assert predictions.wrong[chosen].all() and (np.diff(sure) <= 0).all()
    assert len(chosen) == min(24, predictions.wrong.sum())


def test_no_validation_images(tmp_path: Path) -> None:
    """Guards histories whose validation columns are empty: both pictures show training alone."""
    history = {name: np.arange(3.0) for name in ("epoch", "train_loss", "train_accuracy")}
    history |= {name: np.full(3, np.nan) for name in ("validation_loss", "validation_accuracy")}
    epochs.curves(tmp_path / "c.png", history)
    epochs.violins(tmp_path / "v.png", history)
    assert len(list(tmp_path.iterdir())) == 2


def test_series_are_told_apart() -> None:
    """Guards ROC curves of many classes: no two of the first 28 share colour and line."""
    assert len({tuple(figures.style(number).values()) for number in range(28)}) == 28


@pytest.mark.parametrize("damage", ["no predictions", "cut predictions", "no history", "other data", "not trained"])
def test_what_is_missing_is_said(run: RunFolder, damage: str) -> None:
    """Guards runs of older versions, damaged ones and wrong data: one line, and no pictures."""
    dataset = FACES
    if damage == "no predictions":
        run.predictions.unlink()
    elif damage == "cut predictions":
        run.predictions.write_bytes(run.predictions.read_bytes()[:100])
    elif damage == "no history":
        run.history.write_text("epoch\n")
    elif damage == "other data":
        dataset = dataclasses.replace(FACES, digest="other")
    else:
        run.training.unlink()
    with pytest.raises(RunError) as caught:
        draw(run, dataset)
    assert "\n" not in str(caught.value) and not (run.path / "pictures").exists()


def test_a_class_may_be_called_like_a_formula(tmp_path: Path) -> None:
    """Guards training, which draws the confusion before it is done: `$` in a name begins no formula."""
    names = ("$5_to_$10", "a$^$", *FACES.classes[2:])
    named = dataclasses.replace(_predictions(), classes=names)
    for draws in (classification.confusion, classification.class_scores, classification.roc):
        draws(tmp_path / "x.png", named)
    assert (tmp_path / "x.png").stat().st_size > 1000
