"""`feredge train auto`: the chosen settings are logged, stored and resumed; a card that is not of faces."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from tiny_training import RECIPE

import feredge
from feredge.api.auto import start_model
from feredge.api.predictor_options import PredictorOptions
from feredge.errors import RunError
from feredge.inference.artifact import Card
from feredge.inference.contract import InputContract
from feredge.recipes import load as load_recipe
from feredge.run import RunFolder

pytest.importorskip("tensorflow")

SETTINGS = {
    "training.epochs": 1,
    "training.warmup_epochs": 0.0,
    "network.stem": 8,
    "network.channels": [8],
    "network.blocks": [1],
    "data.size": 32,
}


def test_auto_chooses_logs_and_resumes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the resolved recipe: what was set stays, what was chosen is stored, and a second call chooses nothing."""
    caplog.set_level(logging.INFO)
    result = feredge.train("auto", "drawn-shapes:160", out=tmp_path / "run", overrides=SETTINGS)
    stored = load_recipe(RunFolder(tmp_path / "run").recipe_file)
    assert (stored.name, stored.data.size, stored.data.channels, stored.data.faces) == ("auto", 32, 3, False)
    assert (stored.training.epochs, stored.network.channels, stored.training.batch_size) == (1, (8,), 16)
    assert "data.channels=3  (the pictures are 64 x 64 pixels, in colour)" in caplog.text
    assert "training.epochs" not in caplog.text.partition("hardly above")[0]
    assert start_model(stored) is None
    monkeypatch.setattr("feredge.api.training.choose_recipe", None)
    again = feredge.train("auto", "drawn-shapes:160", out=tmp_path / "run", overrides=SETTINGS)
    assert again.accuracy == result.accuracy


def test_an_uninformed_network_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Guards a newcomer's training that learns nothing: the warning says what to try."""
    feredge.train(
        "auto", "drawn-shapes:160", out=tmp_path / "run", overrides={**SETTINGS, "training.learning_rate": 1e-9}
    )
    (warning,) = [record.message for record in caplog.records if "hardly above" in record.message]
    assert "try `feredge train auto`" in warning and "25.0%" in warning


def test_another_recipes_folder_is_refused(tmp_path: Path) -> None:
    """Guards a run of another recipe, before anything is read."""
    from feredge.recipes import dump

    (tmp_path / "recipe.toml").write_text(dump(RECIPE))
    with pytest.raises(RunError, match=r"belongs to another recipe \(tiny\)"):
        feredge.train("auto", "no data", out=tmp_path)


def test_only_networks_of_faces_detect_them() -> None:
    """Guards the default of predict, label, track and serve, and cards from before the field."""
    card = Card("dense", "int8", ("a", "b"), InputContract())
    assert "faces" not in card.to_json()
    pictures = Card("dense", "int8", ("a", "b"), InputContract(), faces=False)
    assert Card.from_json(pictures.to_json(), where="x") == pictures

    class Stub:
        def __init__(self, card: Card) -> None:
            self.card = card

    for one, cropped, detects in (
        (card, None, True),
        (pictures, None, False),
        (pictures, False, True),
        (card, True, False),
    ):
        assert PredictorOptions(cropped=cropped).detects_faces(Stub(one)) is detects  # type: ignore[arg-type]
