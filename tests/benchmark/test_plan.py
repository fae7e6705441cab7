"""Targets of `feredge bench`: runs, folders, exported and foreign files, and the test set of each."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_models import card, write_linear
from toy_workshop import SMALL_CONFIG, Workshop, export, foreign_onnx

from feredge.benchmark import TargetOptions, collect_candidates, foreign, measure_candidates
from feredge.benchmark.alternative_runtimes import ALTERNATIVE_RUNTIMES, AlternativeRuntime
from feredge.data import load, split
from feredge.errors import ArtifactError, DataError
from feredge.inference.artifact import CARD_KEY, Card
from feredge.inference.contract import CLASSES
from feredge.inference.runtimes import open_artifact
from feredge.recipes.schema import DataView
from feredge.report import changed_prediction_thumbnails, recommend, to_markdown
from feredge.report.page import to_html

DATA_SOURCE = "drawn:700"


@pytest.fixture
def folder(workshop: Workshop, tmp_path: Path) -> Path:
    """A folder of exported files with a manifest."""
    return export(workshop.folder, tmp_path / "toy")


def three_classes(path: Path, classes: tuple[str, ...], recipe: dict[str, Any]) -> Path:
    """A file of three classes with a card."""
    weights = np.random.default_rng(1).normal(size=(2304, 3)).astype(np.float32) / 2304
    return write_linear(path, weights, np.zeros(3, np.float32), card(classes=classes, recipe=recipe))


def test_rows_of_several_targets_have_distinct_names(folder: Path, workshop: Workshop, tmp_path: Path) -> None:
    """Guards `feredge bench models/* peer.onnx`: names differ, each network has its reference, other files a note."""
    other = tmp_path / "again" / "toy"
    shutil.copytree(folder, other)
    for name in ("recipe.toml", "data.json"):  # a shipped model keeps those of its training, and is no run
        (other / name).write_text("{}")
    peer = foreign_onnx(tmp_path / "peer.onnx", workshop, black=-1, white=1)
    (tmp_path / "README.md").write_text("no model")
    plan = collect_candidates(
        [folder, other, peer, tmp_path / "README.md"], DATA_SOURCE, TargetOptions(black=-1, white=1)
    )
    names = [[candidate.name for candidate in test_set.candidates] for test_set in plan.test_sets]
    parent = tmp_path.name
    assert names == [
        [f"{parent}/toy/dense.float32.onnx", f"{parent}/toy/rough.int8.onnx"],
        ["again/toy/dense.float32.onnx", "again/toy/rough.int8.onnx"],
        ["peer.onnx"],
    ]
    assert not plan.is_run and any("README.md was left out" in note for note in plan.notes)
    assert not any(str(tmp_path) in note for note in plan.notes), "reports are shared: no folders of this machine"
    results, raw_data = measure_candidates(plan.test_sets, SMALL_CONFIG, recipe=plan.recipe, notes=plan.notes)
    assert [row.failure for row in results.rows] == [None] * 5
    plain, rough, _, _, foreign_row = results.rows
    assert plain.drop is None and rough.drop is not None and rough.reference_row == plain.name
    # The same weights, read through another scale of pixels: float32's last digits can change an answer or two.
    assert foreign_row.accuracy and plain.accuracy
    assert abs(foreign_row.accuracy.correct - plain.accuracy.correct) <= 2
    assert np.allclose(
        raw_data["peer.onnx/probabilities"], raw_data[f"{plain.name}/probabilities"], atol=1e-3
    )  # pixels times 2/255 and back lose float32's last digits, which 2,304 terms add up
    assert results.rows[0].macs is not None and results.rows[0].macs.floating == 2304 * 7
    assert results.rows[0].roofline is not None and results.rows[0].roofline > 0
    choice = recommend(results)
    assert choice.row is not None and any("networks on the same images" in step for step in choice.reasons)
    assert "peer.onnx has no feredge card" in to_markdown(results)
    # The images that flipped are named by their rows in the data, and can be drawn from it.
    dataset = load(DATA_SOURCE)
    rows = {row: label for row, label, *_ in rough.drop.flipped}
    assert rows and len(rough.drop.flipped) == sum(map(sum, rough.drop.flips))
    assert all(dataset.labels[row] == label for row, label in rows.items())
    drawn = changed_prediction_thumbnails(results, [dataset])
    assert drawn and set(drawn) <= {flip[0] for row in results.rows if row.drop for flip in row.drop.flipped}


def test_single_files_of_one_recipe_are_measured_against_their_float32(
    folder: Path, workshop: Workshop, tmp_path: Path
) -> None:
    """Guards `feredge bench models/toy/*.onnx`: one network, not one for each file."""
    card_recipe = {"name": "toy", "data": {"size": 48}}
    import onnx
    from onnx import helper

    for path in folder.glob("*.onnx"):
        model = onnx.load(path)
        old = open_artifact(path).card
        card = Card(old.variant, old.precision, old.classes, old.contract, card_recipe)
        helper.set_model_props(model, {CARD_KEY: json.dumps(card.to_json())})
        onnx.save(model, path)
    plan = collect_candidates(sorted(folder.glob("*.onnx")), DATA_SOURCE, TargetOptions())
    assert [[candidate.name for candidate in test_set.candidates] for test_set in plan.test_sets] == [
        ["dense.float32.onnx", "rough.int8.onnx"]
    ]
    plain = folder / "dense.float32.onnx"
    plan = collect_candidates(
        [plain, foreign_onnx(tmp_path / "peer.onnx", workshop, black=0, white=1)], DATA_SOURCE, TargetOptions()
    )
    names = [candidate.name for test_set in plan.test_sets for candidate in test_set.candidates]
    assert names == ["toy/dense.float32.onnx", "peer.onnx"], "an only file is its network's too"


def test_fewer_classes_are_evaluated_on_their_own_images(tmp_path: Path, folder: Path) -> None:
    """Guards figures of a three-class network: images of its classes only, labelled in its order, and reported so."""
    path = three_classes(tmp_path / "three.onnx", ("sad", "happy", "neutral"), {})
    plan = collect_candidates([folder, path], DATA_SOURCE, TargetOptions())
    test = plan.test_sets[1].splits.test
    assert test.classes == ("sad", "happy", "neutral")
    whole = split(load(DATA_SOURCE), DataView()).test
    assert len(test) == sum(int((whole.labels == CLASSES.index(name)).sum()) for name in test.classes)
    results, _ = measure_candidates(plan.test_sets, SMALL_CONFIG, recipe={})
    row = results.rows[-1]
    assert row.failure is None and row.accuracy
    assert results.class_names(row) == test.classes and row.accuracy.images == sum(
        results.images_per_class(row)
    ) == len(test)
    assert results.images_per_class(results.rows[0]) == results.data.images
    assert f"{len(test):,}, 3 classes" in to_html(results)


def test_grouped_classes_come_from_card_or_user(tmp_path: Path) -> None:
    """Guards the mapping: in the card's recipe, or by --classes; without either, one line names the option."""
    names = ("positive", "negative", "calm")
    groups = ("positive = happy + surprise", "negative = angry + disgust + fear + sad", "calm = neutral")
    path = three_classes(tmp_path / "three.onnx", names, {})
    with pytest.raises(ArtifactError, match="--classes, as 'positive = angry"):
        collect_candidates([path], DATA_SOURCE, TargetOptions())
    by_user = collect_candidates([path], DATA_SOURCE, TargetOptions(classes=groups)).test_sets[0].splits.test
    three_classes(path, names, {"data": {"classes": list(groups)}})
    by_card = collect_candidates([path], DATA_SOURCE, TargetOptions()).test_sets[0].splits.test
    assert by_user.classes == by_card.classes == names
    assert (by_user.labels == by_card.labels).all() and len(by_card) == len(split(load(DATA_SOURCE), DataView()).test)


def test_bad_targets_are_errors_of_one_line(workshop: Workshop, tmp_path: Path) -> None:
    """Guards bad input: no path, another file, a damaged model, too few outputs, no data."""
    damaged = tmp_path / "bad.onnx"
    damaged.write_bytes(b"not a model")
    three = foreign_onnx(tmp_path / "three.onnx", workshop, black=0, white=1, classes=3)
    (tmp_path / "letter.txt").write_text("dear")
    for path, message in (
        (tmp_path / "nowhere", "expected a run folder, a folder of exported files or a model file, found none"),
        (tmp_path / "letter.txt", "found another file"),
        (tmp_path, "found another folder"),
        (damaged, "expected an ONNX model"),
        (three, "has 3 outputs, expected 7"),
    ):
        with pytest.raises(ArtifactError) as caught:
            collect_candidates([path], DATA_SOURCE, TargetOptions())
        assert message in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(DataError, match="--data"):
        collect_candidates([three], None, TargetOptions())


def test_a_file_that_hangs_or_cannot_be_opened_is_a_row(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the benchmark against one file: the others are measured in a bounded time, its row has the reason."""
    (tmp_path / "hangs.onnx").write_bytes((folder / "dense.float32.onnx").read_bytes().replace(b"feredge", b"another"))
    (tmp_path / "bad.tflite").write_bytes(b"not a model")
    monkeypatch.setattr(foreign, "FOREIGN_OPENER", "toy_runners:hang")
    start = time.monotonic()
    paths = [folder, tmp_path / "hangs.onnx", tmp_path / "bad.tflite"]
    plan = collect_candidates(paths, DATA_SOURCE, TargetOptions(baselines=False, timeout_seconds=3))
    assert time.monotonic() - start < 60
    results, _ = measure_candidates(plan.test_sets, SMALL_CONFIG, recipe=plan.recipe)
    rows = {row.name: row for row in results.rows}
    assert len(rows) == 4 and sum(row.failure is None for row in results.rows) == 2
    assert "no answer within" in str(rows["hangs.onnx"].failure) and rows["bad.tflite"].failure
    assert not any(str(tmp_path) in str(row.failure) for row in results.rows)
    with pytest.raises(ArtifactError, match="no answer within"):
        collect_candidates([tmp_path / "hangs.onnx"], DATA_SOURCE, TargetOptions(timeout_seconds=1))


def test_weights_in_another_file_are_counted(tmp_path: Path, folder: Path, workshop: Workshop) -> None:
    """Guards the size of a file that torch.onnx.export splits, and refuses weights from outside of its folder."""
    import onnx

    path = foreign_onnx(tmp_path / "peer.onnx", workshop, black=0, white=1)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="peer.data", size_threshold=0)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "peer.onnx").write_bytes(path.read_bytes().replace(b"peer.data", b"../peer.d"))
    plan = collect_candidates([folder, path, tmp_path / "sub" / "peer.onnx"], DATA_SOURCE, TargetOptions())
    results, _ = measure_candidates(plan.test_sets, SMALL_CONFIG, recipe=plan.recipe)
    row, refused = results.rows[2:]
    assert row.failure is None
    assert row.bytes == path.stat().st_size + (tmp_path / "peer.data").stat().st_size > 2304 * 7 * 4
    assert "expected weights in the model's own folder" in str(refused.failure)


def test_other_runtimes_are_rows_or_a_note(folder: Path, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards `--runtimes`: the same file in OpenCV agrees with onnxruntime; a missing package is one line."""
    monkeypatch.setitem(
        ALTERNATIVE_RUNTIMES,
        "tflite-micro",
        AlternativeRuntime("TFLite Micro", "", "tflite", module="no_such", package="no-such"),
    )
    plan = collect_candidates([folder], DATA_SOURCE, TargetOptions(runtimes=("opencv", "tflite-micro")))
    assert "TFLite Micro was left out: its package no-such is not installed here." in plan.notes
    results, raw_data = measure_candidates(plan.test_sets, SMALL_CONFIG, recipe={})
    row = next(row for row in results.rows if row.name == "dense.float32.onnx (OpenCV DNN)")
    assert row.failure is None and row.runtime == "OpenCV DNN"
    assert row.drop is not None and row.drop.agreement == 1.0
    rows: list[Any] = [raw_data[f"{name}/probabilities"] for name in (row.name, "dense.float32.onnx")]
    assert np.abs(rows[0] - rows[1]).max() < 1e-4  # the order of 2,304 float32 additions
    assert recommend(results).row in [row for row in results.rows if not row.runtime]
