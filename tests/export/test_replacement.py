"""Replacement of an export's folder: nothing is lost, also when the process is killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from device_models import card

from feredge.errors import ArtifactError, VerificationError
from feredge.export import replacement
from feredge.inference.artifact import (
    Failure,
    Manifest,
    complete_interrupted_replacement,
    manifest_entry,
    unfinished_folder,
)
from feredge.inference.runtimes import find_model

# The child dies by SIGKILL at its Nth renaming or removal of any file or folder.
CHILD = """
import os, signal, sys
from pathlib import Path
from feredge.export import replacement

remaining = int(sys.argv[2])
def count(event, arguments):
    global remaining
    if event in ("os.rename", "os.remove", "os.rmdir"):
        remaining -= 1
        if remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
replacement.swap(Path(sys.argv[1]))
"""


def _write(folder: Path, text: str, *names: str) -> None:
    """Write an export of small files whose names and digests are real."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(f"{text} {name}")
    Manifest(tuple(manifest_entry(folder / name, card(precision=name.split(".")[1]), {}) for name in names)).write(
        folder
    )


def _export(folder: Path, text: str, *names: str) -> None:
    _write(replacement.new_folder(folder), text, *names)
    replacement.copy_other_files(folder)
    replacement.swap(folder)


def _model_names(folder: Path) -> dict[str, list[str]]:
    """Return the names of the models in each folder next to `folder`, and in it."""
    return {
        sibling.name: sorted(path.name for path in sibling.iterdir() if path.suffix == ".onnx")
        for sibling in folder.parent.iterdir()
    }


A, B, C = "dense.float32.onnx", "dense.int8.onnx", "dense.float16.onnx"


@pytest.mark.parametrize("names", [(A, B), (A,)])
def test_no_kill_loses_anything(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Guards `kill -9` at every rename and removal: the old folder or the new one, whole; no old file is lost."""
    return_codes = []
    for moment in range(1, 30):
        folder = tmp_path / str(moment) / "artifacts"
        _write(folder, "old", A, B)
        _write(replacement.new_folder(folder), "new", *names)
        done = subprocess.run([sys.executable, "-c", CHILD, str(folder), str(moment)], capture_output=True, text=True)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        complete_interrupted_replacement(folder)
        manifest = Manifest.read(folder)  # hashes every file
        texts = {(folder / entry.file).read_text().split()[0] for entry in manifest.entries}
        assert texts in ({"old"}, {"new"})
        lost = {A, B} - {entry.file for entry in manifest.entries}
        previous = folder.with_name("artifacts.previous")
        assert all((previous / name).read_text() == f"old {name}" for name in lost)
        _export(folder, "next", *names)
        expected = {"artifacts": sorted(names)}
        if names == (A,):
            expected["artifacts.previous"] = sorted((A, B))
        assert _model_names(folder) == expected
        return_codes.append(done.returncode)
        if done.returncode == 0:
            break
    assert return_codes[-1] == 0 and len(return_codes) > 2


def test_who_reads_finishes_the_swap(tmp_path: Path) -> None:
    """Guards a reader that comes between both renames: it finds the new files."""
    folder = tmp_path / "artifacts"
    _write(folder, "old", A, B)
    _write(replacement.new_folder(folder), "new", A)
    folder.rename(tmp_path / "artifacts.previous")
    assert find_model(tmp_path).read_text() == f"new {A}"
    assert not unfinished_folder(folder).exists()


def test_half_an_export_is_never_taken(tmp_path: Path) -> None:
    """Guards a killed first export, whose manifest is not there yet: the next begins anew."""
    folder = tmp_path / "artifacts"
    (replacement.new_folder(folder) / B).write_text("half")
    complete_interrupted_replacement(folder)
    assert not folder.exists()
    _export(folder, "new", A)
    assert _model_names(folder) == {"artifacts": [A]}


def test_lost_files_remain_until_they_are_written_again(tmp_path: Path) -> None:
    """Guards several narrower exports in turn: each file's last version stands somewhere, and no folder too many."""
    folder = tmp_path / "artifacts"
    _export(folder, "one", A, B)
    (folder / "layers.json").write_text("{}")
    _export(folder, "two", A)
    assert _model_names(folder) == {"artifacts": [A], "artifacts.previous": sorted((A, B))}
    assert replacement.previous_exports(folder) == [(tmp_path / "artifacts.previous", [B])]
    _export(folder, "three", C)
    assert _model_names(folder) == {
        "artifacts": [C],
        "artifacts.previous": sorted((A, B)),
        "artifacts.previous-2": [A],
    }
    _export(folder, "four", A, B, C)
    assert _model_names(folder) == {"artifacts": sorted((A, B, C))}
    assert (folder / "layers.json").read_text() == "{}"


def test_failures_stand_in_the_manifest(tmp_path: Path) -> None:
    """Guards the round trip, and manifests of elsewhere: names that are paths, files both failed and verified."""
    _write(tmp_path, "new", A)
    manifest = Manifest(Manifest.read(tmp_path).entries, failures=(Failure(B, "expected little, found more"),))
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    assert (manifest.failures[0].variant, manifest.failures[0].precision) == ("dense", "int8")
    with pytest.raises(VerificationError, match=r"^dense\.int8\.onnx: expected little"):
        manifest.require_complete()
    for name, message in (("../x.int8.onnx", "such as"), ("dense.onnx", "such as"), (A, "verified or failed")):
        Manifest(manifest.entries, failures=(Failure(name, ""),)).write(tmp_path)
        with pytest.raises(ArtifactError, match=message):
            Manifest.read(tmp_path)


def test_a_linked_folder_is_renamed_not_emptied(tmp_path: Path) -> None:
    """Guards files on another disk behind a link: the swap removes the link, never what it leads to."""
    folder, elsewhere = tmp_path / "run" / "artifacts", tmp_path / "disk"
    _export(folder, "old", A)
    shutil.move(folder, elsewhere)
    folder.symlink_to(elsewhere)
    _export(folder, "new", A)
    assert (elsewhere / A).read_text() == f"old {A}" and (folder / A).read_text() == f"new {A}"
