"""What `feredge bench` is given: runs, folders, files of feredge and of others, and whom each is judged on."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_models import card, expected, save_onnx, write_linear, write_tflite
from toy_workshop import SMALL, Workshop, export

from feredge.benchmark import alternative_runtimes, compare, foreign
from feredge.benchmark.targets import Asked, gather
from feredge.data import load, split
from feredge.errors import ArtifactError, DataError
from feredge.inference.artifact import CARD_KEY, Card
from feredge.inference.contract import CLASSES, InputContract
from feredge.inference.runtimes import open_artifact
from feredge.recipes.schema import DataView
from feredge.report import choose, faces, to_markdown
from feredge.report.page import to_html

DATA = "drawn:700"


@pytest.fixture
def folder(workshop: Workshop, tmp_path: Path) -> Path:
    """A folder of exported files with a manifest."""
    return export(workshop.folder, tmp_path / "toy")


def foreign_onnx(path: Path, workshop: Workshop, *, low: float, high: float, classes: int = 7) -> Path:
    """The workshop's model as another tool would write it: float pixels from low to high, channels first, logits."""
    from onnx import TensorProto, helper

    with np.load(workshop.folder / "float.npz") as file:
        weights, bias = file["weights"][:, :classes], file["bias"][:classes]
    factor = 255 / (high - low)  # pixel = (value - low) * factor
    tensors = {"weights": weights * np.float32(factor), "bias": bias - np.float32(low * factor) * weights.sum(0)}
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
    ]
    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 48, 48])
    given = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes])
    return save_onnx(path, nodes, taken, given, tensors)


def three_classes(path: Path, classes: tuple[str, ...], recipe: dict[str, Any]) -> Path:
    """A file of three classes with a card."""
    weights = np.random.default_rng(1).normal(size=(2304, 3)).astype(np.float32) / 2304
    return write_linear(path, weights, np.zeros(3, np.float32), card(classes=classes, recipe=recipe))


def test_many_targets_are_rows_named_apart(folder: Path, workshop: Workshop, tmp_path: Path) -> None:
    """Guards `feredge bench models/* peer.onnx`: names differ, each network has its yardstick, other files a note."""
    other = tmp_path / "again" / "toy"
    shutil.copytree(folder, other)
    for name in ("recipe.toml", "data.json"):  # a shipped model keeps those of its training, and is no run
        (other / name).write_text("{}")
    peer = foreign_onnx(tmp_path / "peer.onnx", workshop, low=-1, high=1)
    (tmp_path / "README.md").write_text("no model")
    found = gather([folder, other, peer, tmp_path / "README.md"], DATA, Asked(low=-1, high=1))
    names = [[subject.name for subject in group.subjects] for group in found.groups]
    here = tmp_path.name
    assert names == [
        [f"{here}/toy/dense.float32.onnx", f"{here}/toy/rough.int8.onnx"],
        ["again/toy/dense.float32.onnx", "again/toy/rough.int8.onnx"],
        ["peer.onnx"],
    ]
    assert not found.is_run and any("README.md was left out" in note for note in found.notes)
    assert not any(str(tmp_path) in note for note in found.notes), "reports travel: no folders of this machine"
    results, evidence = compare(found.groups, SMALL, recipe=found.recipe, notes=found.notes)
    assert [row.failure for row in results.rows] == [None] * 5
    plain, rough, _, _, foreign_row = results.rows
    assert plain.drop is None and rough.drop is not None and rough.beside == plain.name
    # The same weights, read through another scale of pixels: float32's last digits can change an answer or two.
    assert foreign_row.accuracy and plain.accuracy
    assert abs(foreign_row.accuracy.correct - plain.accuracy.correct) <= 2
    assert np.allclose(
        evidence["peer.onnx/probabilities"], evidence[f"{plain.name}/probabilities"], atol=1e-3
    )  # pixels times 2/255 and back lose float32's last digits, which 2,304 terms add up
    assert results.rows[0].macs is not None and results.rows[0].macs.floating == 2304 * 7
    assert results.rows[0].roofline is not None and results.rows[0].roofline > 0
    choice = choose(results)
    assert choice.row is not None and any("networks on the same images" in step for step in choice.steps)
    assert "peer.onnx has no feredge card" in to_markdown(results)
    # The images that flipped are named by their rows in the data, and can be drawn from it.
    dataset = load(DATA)
    rows = {row: label for row, label, *_ in rough.drop.flipped}
    assert rows and len(rough.drop.flipped) == sum(map(sum, rough.drop.flips))
    assert all(dataset.labels[row] == label for row, label in rows.items())
    drawn = faces(results, [dataset])
    assert drawn and set(drawn) <= {found[0] for row in results.rows if row.drop for found in row.drop.flipped}


def test_single_files_of_one_recipe_are_measured_against_their_float32(
    folder: Path, workshop: Workshop, tmp_path: Path
) -> None:
    """Guards `feredge bench models/toy/*.onnx`: one network, not as many as files."""
    card_recipe = {"name": "toy", "data": {"size": 48}}
    import onnx
    from onnx import helper

    for path in folder.glob("*.onnx"):
        model = onnx.load(path)
        old = open_artifact(path).card
        card = Card(old.variant, old.precision, old.classes, old.contract, card_recipe)
        helper.set_model_props(model, {CARD_KEY: json.dumps(card.to_json())})
        onnx.save(model, path)
    found = gather(sorted(folder.glob("*.onnx")), DATA, Asked())
    assert [[subject.name for subject in group.subjects] for group in found.groups] == [
        ["dense.float32.onnx", "rough.int8.onnx"]
    ]
    plain = folder / "dense.float32.onnx"
    found = gather([plain, foreign_onnx(tmp_path / "peer.onnx", workshop, low=0, high=1)], DATA, Asked())
    names = [subject.name for group in found.groups for subject in group.subjects]
    assert names == ["toy/dense.float32.onnx", "peer.onnx"], "an only file is its network's too"


def test_fewer_classes_are_judged_on_their_own(tmp_path: Path, folder: Path) -> None:
    """Guards figures of a three-class network: images of its classes only, labelled by its order, and it says so."""
    path = three_classes(tmp_path / "three.onnx", ("sad", "happy", "neutral"), {})
    found = gather([folder, path], DATA, Asked())
    test = found.groups[1].splits.test
    assert test.classes == ("sad", "happy", "neutral")
    whole = split(load(DATA), DataView()).test
    assert len(test) == sum(int((whole.labels == CLASSES.index(name)).sum()) for name in test.classes)
    results, _ = compare(found.groups, SMALL, recipe={})
    row = results.rows[-1]
    assert row.failure is None and row.accuracy
    assert results.classes(row) == test.classes and row.accuracy.images == sum(results.images(row)) == len(test)
    assert results.images(results.rows[0]) == results.data.images
    assert f"{len(test):,}, 3 classes" in to_html(results)


def test_grouped_classes_come_from_card_or_user(tmp_path: Path) -> None:
    """Guards the mapping: in the card's recipe, or said by --classes; without either one line says how."""
    names = ("positive", "negative", "calm")
    groups = ("positive = happy + surprise", "negative = angry + disgust + fear + sad", "calm = neutral")
    path = three_classes(tmp_path / "three.onnx", names, {})
    with pytest.raises(ArtifactError, match="--classes 'positive = angry"):
        gather([path], DATA, Asked())
    by_user = gather([path], DATA, Asked(classes=groups)).groups[0].splits.test
    three_classes(path, names, {"data": {"classes": list(groups)}})
    by_card = gather([path], DATA, Asked()).groups[0].splits.test
    assert by_user.classes == by_card.classes == names
    assert (by_user.labels == by_card.labels).all() and len(by_card) == len(split(load(DATA), DataView()).test)


def test_what_cannot_be_measured_is_one_line(workshop: Workshop, tmp_path: Path) -> None:
    """Guards bad input: nothing there, another file, a damaged model, too few answers, no data."""
    damaged = tmp_path / "bad.onnx"
    damaged.write_bytes(b"not a model")
    three = foreign_onnx(tmp_path / "three.onnx", workshop, low=0, high=1, classes=3)
    (tmp_path / "letter.txt").write_text("dear")
    for path, words in (
        (tmp_path / "nowhere", "expected a run folder, a folder of exported files or a model file, found none"),
        (tmp_path / "letter.txt", "found another file"),
        (tmp_path, "found another folder"),
        (damaged, "expected an ONNX model"),
        (three, "answers with 3 classes, expected 7"),
    ):
        with pytest.raises(ArtifactError) as caught:
            gather([path], DATA, Asked())
        assert words in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(DataError, match="--data"):
        gather([three], None, Asked())


def test_a_file_that_hangs_or_cannot_be_opened_is_a_row(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the benchmark against one file: it goes on within a bounded time, and says why there are no figures."""
    (tmp_path / "hangs.onnx").write_bytes((folder / "dense.float32.onnx").read_bytes().replace(b"feredge", b"another"))
    (tmp_path / "bad.tflite").write_bytes(b"not a model")
    monkeypatch.setattr(foreign, "OPENER", "toy_runners:hang")
    begin = time.monotonic()
    paths = [folder, tmp_path / "hangs.onnx", tmp_path / "bad.tflite"]
    found = gather(paths, DATA, Asked(baselines=False, timeout=3))
    assert time.monotonic() - begin < 60
    results, _ = compare(found.groups, SMALL, recipe=found.recipe)
    rows = {row.name: row for row in results.rows}
    assert len(rows) == 4 and sum(row.failure is None for row in results.rows) == 2
    assert "no answer within" in str(rows["hangs.onnx"].failure) and rows["bad.tflite"].failure
    assert not any(str(tmp_path) in str(row.failure) for row in results.rows)
    with pytest.raises(ArtifactError, match="no answer within"):
        gather([tmp_path / "hangs.onnx"], DATA, Asked(timeout=1))


def test_weights_in_another_file_are_counted(tmp_path: Path, folder: Path, workshop: Workshop) -> None:
    """Guards the size of a file that torch.onnx.export splits, and refuses weights from outside of its folder."""
    import onnx

    path = foreign_onnx(tmp_path / "peer.onnx", workshop, low=0, high=1)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="peer.data", size_threshold=0)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "peer.onnx").write_bytes(path.read_bytes().replace(b"peer.data", b"../peer.d"))
    found = gather([folder, path, tmp_path / "sub" / "peer.onnx"], DATA, Asked())
    results, _ = compare(found.groups, SMALL, recipe=found.recipe)
    row, refused = results.rows[2:]
    assert row.failure is None
    assert row.bytes == path.stat().st_size + (tmp_path / "peer.data").stat().st_size > 2304 * 7 * 4
    assert "expected weights in the model's own folder" in str(refused.failure)


def test_other_runtimes_are_rows_or_a_note(folder: Path, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards `--runtimes`: the same file in OpenCV agrees with onnxruntime; a package that is not there is one line."""
    monkeypatch.setitem(
        alternative_runtimes.ALSO,
        "tflite-micro",
        alternative_runtimes.Runtime("TFLite Micro", "", "tflite", needs=("no_such", "no-such")),
    )
    found = gather([folder], DATA, Asked(also=("opencv", "tflite-micro")))
    assert "TFLite Micro was left out: its package no-such is not installed here." in found.notes
    results, evidence = compare(found.groups, SMALL, recipe={})
    row = next(row for row in results.rows if row.name == "dense.float32.onnx (OpenCV DNN)")
    assert row.failure is None and row.runtime == "OpenCV DNN"
    assert row.drop is not None and row.drop.agreement == 1.0
    gap = np.abs(evidence[f"{row.name}/probabilities"] - evidence["dense.float32.onnx/probabilities"]).max()
    assert gap < 1e-4  # the order of 2,304 float32 additions
    assert choose(results).row in [row for row in results.rows if not row.runtime]


def test_a_tflite_file_without_xnnpack_and_as_a_foreign_one(tmp_path: Path) -> None:
    """Guards LiteRT's two sets of kernels, and a foreign TFLite file: all answer alike."""
    pytest.importorskip("ai_edge_litert")
    path = write_tflite(tmp_path / "small.tflite", with_card=card())
    batch = np.random.default_rng(2).integers(0, 256, (3, 48, 48, 1), np.uint8)
    reference = alternative_runtimes.open_reference(path).predict(batch)
    other = foreign.ForeignRunner(path, low=-1, high=1)  # it takes uint8 pixels as they are, whatever is said
    assert np.abs(reference - expected(batch)).max() < 1e-5  # float32 beside float64
    assert np.abs(other.predict(batch) - reference).max() < 1e-5
    found = other.signature()
    assert found.contract == InputContract() and not (found.channels_first or found.scaled or found.logits)


def test_integers_of_a_foreign_onnx_file_are_pixels_as_they_are(workshop: Workshop) -> None:
    """Guards accuracy that is garbage without a word, where `--input-range` is said of a file that takes bytes."""
    path, batch = workshop.folder / "dense.float32.onnx", workshop.splits.test.batch[:16]
    other = foreign.ForeignRunner(path, low=-1, high=1)
    np.testing.assert_array_equal(other.predict(batch), open_artifact(path).predict(batch))
    assert not other.signature().scaled


def test_dynamically_quantized_files_see_one_image_at_a_time(tmp_path: Path, workshop: Workshop) -> None:
    """Guards figures that depend on which images happened to stand in one batch."""
    from onnxruntime.quantization import quantize_dynamic

    float_file = foreign_onnx(tmp_path / "float.onnx", workshop, low=0, high=1)
    import onnx

    model = onnx.load(float_file)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.save(model, float_file)
    quantize_dynamic(float_file, tmp_path / "dynamic.onnx")
    runner = foreign.ForeignRunner(tmp_path / "dynamic.onnx")
    batch = np.concatenate([workshop.splits.test.batch[:8] // 8, workshop.splits.test.batch[:8]])
    np.testing.assert_array_equal(runner.predict(batch), np.concatenate([runner.predict(one[None]) for one in batch]))
