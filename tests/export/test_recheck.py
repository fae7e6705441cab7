"""An exported folder that is checked again: every kind of damage is found, and the file is named."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from feredge import files
from feredge.artifact import MANIFEST_FILE, Manifest
from feredge.cli import main
from feredge.errors import FeredgeError, VerificationError
from feredge.export.recheck import recheck
from feredge.run import RunFolder

KEPT = ("dense.float32.onnx", "dense.int8.onnx", "dense.int8.tflite")


@pytest.fixture
def folder(exported: tuple[RunFolder, Manifest], tmp_path: Path) -> Path:
    """Three files of an export, with their manifest."""
    place = tmp_path / "artifacts"
    place.mkdir()
    entries = [entry for entry in exported[1].entries if entry.file in KEPT]
    for entry in entries:
        shutil.copy(exported[0].artifacts / entry.file, place)
    Manifest(tuple(entries)).write(place)
    return place


def _rewrite(folder: Path, change: Callable[[dict[str, object]], None], file: str = "dense.int8.onnx") -> None:
    path = folder / MANIFEST_FILE
    value = json.loads(path.read_text())
    (row,) = [row for row in value["artifacts"] if row["file"] == file]
    change(row)
    path.write_text(json.dumps(value))


def _truncated(folder: Path, name: str) -> None:
    """Cut a file short, and let the manifest believe it: the digest alone must not be what finds it."""
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    _rewrite(folder, lambda row: row.update(sha256=files.sha256(path), bytes=path.stat().st_size), name)


def _reclaimed(folder: Path) -> None:
    (folder / "dense.int8.onnx").write_bytes((folder / "dense.float32.onnx").read_bytes())
    _rewrite(folder, lambda row: row.update(sha256=files.sha256(folder / "dense.int8.onnx")))


def test_a_good_folder_passes(folder: Path) -> None:
    """Guards the check itself, and the command's last line."""
    assert sorted(entry.file for entry in recheck(folder).entries) == sorted(KEPT)
    done = CliRunner().invoke(main, ["verify", str(folder)])
    assert done.exit_code == 0 and done.output.endswith("verified: 3 files\n")


def _change(**changes: object) -> Callable[[Path], None]:
    return lambda folder: _rewrite(folder, lambda row: row.update(changes))


def _change_in(key: str, **changes: object) -> Callable[[Path], None]:
    return lambda folder: _rewrite(folder, lambda row: row[key].update(changes))  # type: ignore[attr-defined]


def _stranger(folder: Path) -> None:
    shutil.copy(folder / "dense.int8.onnx", folder / "another.onnx")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "dense.int8.onnx").unlink(), "dense.int8.onnx: expected"),
        (lambda folder: (folder / "dense.int8.onnx").write_bytes(b"x"), "dense.int8.onnx: expected SHA-256"),
        (lambda folder: _truncated(folder, "dense.int8.onnx"), "dense.int8.onnx: onnxruntime cannot load"),
        (lambda folder: _truncated(folder, "dense.int8.tflite"), "dense.int8.tflite: expected a feredge card"),
        (_change_in("card", variant="qat"), "dense.int8.onnx: expected the card"),
        (_change(bytes=1), "dense.int8.onnx: expected 1 bytes"),
        (_change_in("verification", sparsity=0.8), "dense.int8.onnx: expected 80.00%"),
        (_reclaimed, "dense.int8.onnx: expected the card"),
        (_stranger, "another.onnx: expected files that"),
        (lambda folder: (folder / MANIFEST_FILE).unlink(), "expected a manifest"),
    ],
)  # fmt: skip
def test_damage_is_found_and_the_file_named(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    """Guards against a folder that changed on its way: one line, code 1 or 2, never a stack trace."""
    damage(folder)
    with pytest.raises(FeredgeError, match=message.replace(".", r"\.")):
        recheck(folder)
    done = CliRunner().invoke(main, ["verify", str(folder)])
    assert done.exit_code in (1, 2) and len(done.stderr.splitlines()) == 1


def test_a_file_that_answers_nothing_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a file whose answer does not depend on the picture."""
    from feredge.export import recheck as room

    class Stuck:
        def __init__(self, runner: object) -> None:
            self.card = runner.card  # type: ignore[attr-defined]

        def predict(self, batch: object) -> object:
            import numpy as np

            return np.full((len(batch), 7), 1 / 7, np.float32)  # type: ignore[arg-type]

    opened = room.open_checked
    monkeypatch.setattr(room, "open_checked", lambda path: Stuck(opened(path)))
    with pytest.raises(VerificationError, match="depend on the picture"):
        recheck(folder)


def test_inspect_shows_the_oldest_runtime(folder: Path) -> None:
    """Guards what a person with an old device asks: will it load?"""
    done = CliRunner().invoke(main, ["inspect", str(folder / "dense.int8.onnx"), "--json"])
    found = json.loads(done.output)
    assert found["oldest_runtime"] == "onnxruntime 1.12.0" and found["opset"] == 17 and found["precision"] == "int8"
    assert found["multiply_adds"] > found["weights"] > 1000 and 0 < found["gzip_bytes"] < found["bytes"]
    assert "licence" in found


def test_old_manifests_are_read(folder: Path) -> None:
    """Guards manifests of before there were facts, licences and float layers."""
    _rewrite(folder, lambda row: row.pop("facts"))
    assert any(not entry.facts for entry in Manifest.read(folder).entries)
    card = Manifest.read(folder).entries[0].card
    bare = dataclasses.replace(card, licence="")
    assert "licence" not in bare.to_json() and "float_layers" not in bare.to_json()
