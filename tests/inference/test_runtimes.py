"""Finding a model file, opening it, and refusing what is not what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_models import card, expected, faces, write_onnx, write_tflite

from feredge.errors import ArtifactError
from feredge.inference import runtimes
from feredge.inference.artifact import CARD_KEY, Manifest, manifest_entry
from feredge.inference.contract import InputContract

NANO = Path(__file__).parents[2] / "models" / "nano"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A folder as `feredge export` leaves it: three files, and a manifest that names them."""
    cards = {"dense.float32.onnx": card(), "dense.int8.onnx": card(precision="int8"), "dense.int8.tflite": card()}
    for name, one in cards.items():
        (write_tflite if name.endswith("tflite") else write_onnx)(tmp_path / name, with_card=one)
    Manifest(tuple(manifest_entry(tmp_path / name, one, {}) for name, one in cards.items())).write(tmp_path)
    return tmp_path


@pytest.mark.parametrize("write", [write_onnx, write_tflite])
def test_runners_give_probabilities(tmp_path: Path, write: Any) -> None:
    """Both runtimes answer as numpy does, for batches of changing size."""
    name = "model.tflite" if write is write_tflite else "model.onnx"
    runner = runtimes.open_artifact(write(tmp_path / name, with_card=card()))
    batch = InputContract().to_batch(faces(9))
    for part in (batch[:1], batch, batch[:4]):
        rows = runner.predict(part)
        assert rows.dtype == np.float32
        # 1e-5: float32 sums over 2,304 pixels in another order
        np.testing.assert_allclose(rows, expected(part), atol=1e-5)


def test_folder_gives_the_smallest_onnx(export: Path) -> None:
    """A folder means its int8 ONNX file, and so does the run folder around it."""
    assert runtimes.find_model(export).name == "dense.int8.onnx"
    run = export.parent / "run"
    run.mkdir()
    export.rename(run / "artifacts")
    assert runtimes.find_model(run) == run / "artifacts" / "dense.int8.onnx"


def test_folder_of_tflite_only(tmp_path: Path) -> None:
    """Where there is no ONNX file, the TFLite file is taken."""
    path = write_tflite(tmp_path / "qat.int8.tflite", with_card=card(precision="int8"))
    Manifest((manifest_entry(path, card(precision="int8"), {}),)).write(tmp_path)
    assert runtimes.find_model(tmp_path) == path


def test_changed_file_is_refused(export: Path) -> None:
    """A file that was replaced after the export is not what was verified."""
    write_onnx(export / "dense.int8.onnx", with_card=card(precision="int8", variant="other"))
    for model in (export, export / "dense.int8.onnx"):
        with pytest.raises(ArtifactError, match="expected SHA-256"):
            runtimes.find_model(model)
    assert runtimes.find_model(export / "dense.float32.onnx").is_file()  # the others still stand


def test_stranger_in_an_exported_folder_is_refused(export: Path) -> None:
    """A file that the manifest does not name was never verified."""
    path = write_onnx(export / "stranger.onnx", with_card=card())
    with pytest.raises(ArtifactError, match=r"expected a file listed in manifest\.json"):
        runtimes.find_model(path)


def test_card_and_manifest_must_agree(export: Path) -> None:
    """A manifest that tells another story than the file is damaged."""
    rows = json.loads((export / "manifest.json").read_text())
    rows["artifacts"][1]["card"]["classes"] = ["a", "b", "c", "d", "e", "f", "g"]
    (export / "manifest.json").write_text(json.dumps(rows))
    with pytest.raises(ArtifactError, match="found other metadata in the file"):
        runtimes.open_checked(export)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{", "[" * 100_000, "expected a JSON manifest, found other text"),
        ('"bytes": ', '"bytes": 1e999, "": ', "expected a whole manifest, found one without"),
        ('"height": ', '"height": 1e999, "": ', r"manifest\.json: expected an input contract, found"),
        ('"range": ', '"rang": ', r"manifest\.json: expected a uint8 NHWC input contract, found"),
    ],
)
def test_damaged_manifests(export: Path, old: str, new: str, message: str) -> None:
    """Guards against a stack trace from a manifest that was edited by hand, and an error that names no file."""
    path = export / "manifest.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ArtifactError, match=message):
        Manifest.read(export)


@pytest.mark.parametrize("name", ["none.onnx", "none", "sub"])
def test_missing_models(tmp_path: Path, name: str) -> None:
    """A missing file, and a folder without a manifest."""
    (tmp_path / "sub").mkdir()
    with pytest.raises(ArtifactError, match="expected a m"):
        runtimes.find_model(tmp_path / name)


def test_missing_default_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A checkout without the shipped network says so."""
    monkeypatch.setattr(runtimes, "DEFAULT_MODEL", tmp_path / "nano.int8.onnx")
    with pytest.raises(ArtifactError, match="part of an installed feredge"):
        runtimes.find_model(None)


@pytest.mark.parametrize("name", ["model.onnx", "model.ort", "model.tflite", "model.h5", "model"])
@pytest.mark.parametrize("data", [b"", b"text, not a model", b"\x08\x08" * 50, b"PK\x03\x04" * 9])
def test_files_that_are_no_models(tmp_path: Path, name: str, data: bytes) -> None:
    """Text, nothing and noise are one clear line each."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArtifactError) as error:
        runtimes.open_artifact(tmp_path / name)
    assert "\n" not in str(error.value) and name in str(error.value)


def test_model_without_a_card(tmp_path: Path) -> None:
    """Someone else's model has another scale, layout and order of classes; nothing may be guessed."""
    with pytest.raises(ArtifactError, match="expected a feredge card inside the file"):
        runtimes.open_artifact(write_onnx(tmp_path / "m.onnx"))
    path = write_tflite(tmp_path / "m.tflite")
    path.write_bytes(path.read_bytes().replace(b"feredge.json", b"someone.json"))
    with pytest.raises(ArtifactError, match="expected a feredge card inside the file"):
        runtimes.open_artifact(path)


def test_damaged_tflite_never_reaches_its_runtime(tmp_path: Path) -> None:
    """LiteRT trusts a flatbuffer's offsets: some flipped bits end the process. The digest beside the card is first."""
    path = write_tflite(tmp_path / "m.tflite", with_card=card())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="found a damaged one"):
        runtimes.open_artifact(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"with_card": card(classes=("yes", "no"))}, r"expected output float32 \(1, 2\)"),
        ({"with_card": card(), "last": "Identity"}, "sum to 1"),
        ({"with_card": card(), "last": "Log"}, "sum to 1"),
        ({"with_card": card(), "outputs": 8}, r"expected output float32 \(1, 7\)"),
    ],
)
def test_models_that_break_their_card(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    """Other labels, logits and NaN are seen when the model is opened, not in wrong answers later."""
    with pytest.raises(ArtifactError, match=words):
        runtimes.open_checked(write_onnx(tmp_path / "m.onnx", **changes))


def test_model_of_another_size_than_its_card(tmp_path: Path) -> None:
    """A card that promises another input fails on the first picture."""
    import onnx

    path = write_onnx(tmp_path / "m.onnx", with_card=card())
    model = onnx.load(path)
    del model.metadata_props[:]
    other = card(contract=InputContract(64, 64, 1))
    model.metadata_props.add(key=CARD_KEY, value=json.dumps(other.to_json()))
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match="onnxruntime failed"):
        runtimes.open_checked(path)


def test_provider_that_is_not_there(tmp_path: Path) -> None:
    """onnxruntime would print a warning and run on the CPU."""
    path = write_onnx(tmp_path / "m.onnx", with_card=card())
    with pytest.raises(ArtifactError, match="found NoSuchProvider"):
        runtimes.open_artifact(path, providers=("NoSuchProvider",))


def test_opencv_answers_a_batch_as_it_answers_its_images() -> None:
    """Guards against OpenCV's int8 batches, whose answers are wrong and differ from run to run."""
    images = np.random.default_rng(1).integers(0, 256, (32, 48, 48, 1)).astype(np.uint8)
    runner = runtimes.OpenCVRunner(NANO / "dense.int8.onnx")
    whole = runner.predict(images)
    assert whole.shape == (32, 7) and whole.dtype == np.float32
    np.testing.assert_array_equal(np.concatenate([runner.predict(image[None]) for image in images]), whole)
    np.testing.assert_array_equal(runtimes.OpenCVRunner(NANO / "dense.int8.onnx").predict(images), whole)
