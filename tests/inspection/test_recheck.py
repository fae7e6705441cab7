"""Verification of an exported folder: every kind of damage is detected, and the file named."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from feredge import files
from feredge.cli import main
from feredge.errors import ArtifactError
from feredge.inference.artifact import MANIFEST_FILE, PROBES_FILE, Manifest
from feredge.inference.embedded_card import append_tflite_card, read_card
from feredge.inference.runtimes import open_checked
from feredge.inspection import flatbuffer
from feredge.inspection.child import ChildProcess
from feredge.inspection.probes import add_probes, read_probes, write_probes
from feredge.inspection.recheck import recheck
from feredge.run import RunFolder

EXPORTED = ("dense.float32.onnx", "dense.int8.onnx", "dense.int8.tflite")


@pytest.fixture
def folder(exported: tuple[RunFolder, Manifest], tmp_path: Path) -> Path:
    """Three files of an export, with their manifest."""
    folder_copy = tmp_path / "artifacts"
    folder_copy.mkdir()
    entries = [entry for entry in exported[1].entries if entry.file in EXPORTED]
    for entry in entries:
        shutil.copy(exported[0].artifacts / entry.file, folder_copy)
    add_probes(folder_copy, Manifest(tuple(entries)))
    return folder_copy


def _rewrite(folder: Path, change: Callable[[dict[str, Any]], object], file: str = "dense.int8.onnx") -> None:
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
    checks = recheck(folder)
    assert sorted(check.file for check in checks) == sorted(EXPORTED) and not any(check.failure for check in checks)
    done = CliRunner().invoke(main, ["verify", str(folder)])
    assert done.exit_code == 0 and done.output.endswith("verified: 3 files\n")


def _change(**changes: object) -> Callable[[Path], None]:
    return lambda folder: _rewrite(folder, lambda row: row.update(changes))


def _change_in(key: str, **changes: object) -> Callable[[Path], None]:
    return lambda folder: _rewrite(folder, lambda row: row[key].update(changes))


def _stranger(folder: Path) -> None:
    shutil.copy(folder / "dense.int8.onnx", folder / "another.onnx")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "dense.int8.onnx").unlink(), "dense.int8.onnx: expected"),
        (lambda folder: (folder / "dense.int8.onnx").write_bytes(b"x"), "dense.int8.onnx: expected SHA-256"),
        (lambda folder: _truncated(folder, "dense.int8.onnx"), "dense.int8.onnx: expected an ONNX model"),
        (lambda folder: _truncated(folder, "dense.int8.tflite"), "dense.int8.tflite: expected a feredge card"),
        (_change_in("card", variant="qat"), "dense.int8.onnx: expected the metadata"),
        (_change(bytes=1), "dense.int8.onnx: expected 1 bytes"),
        (_change_in("verification", sparsity=0.8), "dense.int8.onnx: expected 80.00%"),
        (_reclaimed, "dense.int8.onnx: expected the metadata"),
        (_stranger, "another.onnx: expected files that"),
        (lambda folder: (folder / MANIFEST_FILE).unlink(), "expected a folder of exported files"),
        (lambda folder: (folder / PROBES_FILE).unlink(), "probes.npz: expected the file"),
        (lambda folder: Manifest(Manifest.read(folder).entries).write(folder), "probes.npz: expected reference"),
    ],
)  # fmt: skip
def test_damage_is_found_and_the_file_named(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    """Guards against a folder that changed on its way: one line, code 1 or 2, never a stack trace."""
    damage(folder)
    done = CliRunner().invoke(main, ["verify", str(folder)])
    assert done.exit_code in (1, 2) and len(done.stderr.splitlines()) == 1
    assert re.search(message.replace(".", r"\.").replace("(", r"\("), done.stderr)


def test_a_file_that_answers_nothing_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a file whose answer does not depend on the image."""
    from feredge.inspection import recheck as room

    class Stuck:
        def __init__(self, runner: object) -> None:
            self.card = runner.card  # type: ignore[attr-defined]  # a runner

        def predict(self, batch: object) -> object:
            import numpy as np

            return np.full((len(batch), 7), 1 / 7, np.float32)  # type: ignore[arg-type]  # a batch

    monkeypatch.setattr(room, "open_checked", lambda path: Stuck(open_checked(path)))
    monkeypatch.setattr(ChildProcess, "call", lambda child, function, subject, **arguments: function(**arguments))
    assert all("depend on the image" in check.failure for check in recheck(folder))


def test_inspect_shows_the_oldest_runtime(folder: Path) -> None:
    """Guards what a person with an old device asks: will it load?"""
    done = CliRunner().invoke(main, ["inspect", str(folder / "dense.int8.onnx"), "--json"])
    facts = json.loads(done.output)
    assert facts["oldest_runtime"] == "onnxruntime 1.12.0" and facts["opset"] == 17 and facts["precision"] == "int8"
    assert facts["multiply_adds"] > facts["weights"] > 1000 and 0 < facts["gzip_bytes"] < facts["bytes"]
    assert "licence" in facts


def test_old_manifests_are_read(folder: Path) -> None:
    """Guards manifests of before there were facts, licences and float layers."""
    _rewrite(folder, lambda row: row.pop("facts"))
    assert any(not entry.facts for entry in Manifest.read(folder).entries)
    card = Manifest.read(folder).entries[0].card
    bare = dataclasses.replace(card, licence="")
    assert "licence" not in bare.to_json() and "float_layers" not in bare.to_json()


def _accept(folder: Path, name: str, **changes: object) -> None:
    """Let the manifest believe a changed file."""
    path = folder / name
    _rewrite(folder, lambda row: row.update(sha256=files.sha256(path), bytes=path.stat().st_size, **changes), name)


def _negate_onnx(path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    kernel = next(one for one in model.graph.initializer if len(one.dims) == 4 and one.dims[0] > 1)
    values = numpy_helper.to_array(kernel)
    kernel.CopyFrom(
        numpy_helper.from_array(-np.maximum(values, -127) if values.dtype == np.int8 else -values, kernel.name)
    )
    onnx.save(model, path)


def _negate_tflite(path: Path) -> None:
    card = read_card(path)
    model = flatbuffer.parse(path.read_bytes())
    operator = flatbuffer.kernel_operators(model)[0]
    buffer = model.buffers[model.subgraphs[0].tensors[operator.inputs[1]].buffer]
    buffer.data = (-np.maximum(np.asarray(buffer.data).view(np.int8), -127)).view(np.uint8)
    path.write_bytes(append_tflite_card(flatbuffer.pack(model), card))


def test_negated_weights_are_found_behind_right_digests(folder: Path) -> None:
    """Guards against changed weights whose digests were written anew; the good file is still looked at."""
    _negate_onnx(folder / "dense.float32.onnx")
    _negate_tflite(folder / "dense.int8.tflite")
    for name in ("dense.float32.onnx", "dense.int8.tflite"):
        _accept(folder, name)
    done = CliRunner().invoke(main, ["verify", str(folder)])
    lines = done.stderr.splitlines()
    assert done.exit_code == 1 and len(lines) == 2 and "dense.int8.onnx" in done.stdout
    for name in ("dense.float32.onnx", "dense.int8.tflite"):
        (line,) = [line for line in lines if name in line]
        difference = re.search(r"found a difference of ([0-9.]+)", line)
        assert difference and float(difference[1]) > 0.01


def test_a_broken_promise_is_found_without_tensorflow(folder: Path, tmp_path: Path) -> None:
    """Guards devices without TensorFlow: a dense file that calls itself pruned does not pass there unseen."""
    import onnx

    for name in ("tensorflow", "tf_keras", "keras"):  # stands before the real one, in child processes too
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})")
    path_first = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    call = [sys.executable, "-m", "feredge", "verify", str(folder)]
    assert subprocess.run(call, capture_output=True, check=False, env=path_first).returncode == 0
    path = folder / "dense.float32.onnx"
    model = onnx.load(path)
    (card,) = [item for item in model.metadata_props if item.key == "feredge"]
    pruned = {**json.loads(card.value), "variant": "pruned-60"}
    card.value = json.dumps(pruned)
    onnx.save(model, path)
    _accept(folder, path.name, card=pruned)
    done = subprocess.run(call, capture_output=True, text=True, check=False, env=path_first)
    assert done.returncode == 1
    assert "dense.float32.onnx: expected 60% of the weights zero" in done.stderr, done.stderr


@pytest.mark.parametrize("damage", ["truncated", "header", "pickled", "wide", "other pictures"])
def test_damaged_answers_are_refused(tmp_path: Path, damage: str) -> None:
    """Guards the reader of reference outputs: no pickle, no memory for what a header claims, no other images."""
    path, rows = tmp_path / PROBES_FILE, np.full((64, 7), 1 / 7, np.float32)
    write_probes(path, {"a.onnx": rows})
    np.testing.assert_array_equal(read_probes(path, {"a.onnx": 7})["a.onnx"], rows)
    pictures = np.load(path)["pictures"]
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "header":  # an open bracket: numpy's parser raises what is no ValueError
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data.replace(b"), }", b", ( "))
    elif damage == "other pictures":
        np.savez(path, **{"pictures": pictures + 1, "a.onnx": rows})
    else:
        value = np.array([{}]) if damage == "pickled" else np.zeros((64, 70_000), np.float32)
        np.savez(path, **{"pictures": pictures, "a.onnx": value})
    with pytest.raises(ArtifactError, match=r"reference outputs|probe images"):
        read_probes(path, {"a.onnx": 7})
