"""Checks of tools/survives-kills after a kill: surviving processes, and partly written files."""

from __future__ import annotations

import importlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from feredge.inference.runtimes import DEFAULT_MODEL

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tool reads /proc")


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the module."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "tools"))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return importlib.import_module("killing")


def test_a_surviving_process_is_detected(killing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a check of the killed process alone."""
    monkeypatch.setattr(killing, "ORPHAN_SECONDS", 0.2)
    program = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        sleeper = int(process.stdout.readline())
        assert killing.kill_when(process, lambda: True)
        assert process.returncode == -signal.SIGKILL
        assert killing.surviving_processes(process.pid) == [sleeper]
        killing.kill([sleeper])
        monkeypatch.setattr(killing, "ORPHAN_SECONDS", 30.0)
        assert killing.surviving_processes(process.pid) == []


def test_a_command_that_ends_first_was_not_killed(killing: ModuleType) -> None:
    """Guards counts against kills after the end."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        assert not killing.kill_when(process, lambda: False)


@pytest.mark.parametrize("name", ["a.json", "a.npz", "a.onnx", "a.csv", "a.png", "a.keras", "a.html"])
def test_a_truncated_file_is_detected(killing: ModuleType, tmp_path: Path, name: str) -> None:
    """Guards the check against readers that accept truncated files; hidden files are temporary and are skipped."""
    import cv2

    path = tmp_path / "folder" / name
    path.parent.mkdir()
    if name == "a.npz":
        np.savez(path, a=np.arange(1000))
    elif name == "a.keras":
        shutil.make_archive(str(path.with_suffix("")), "zip", Path(__file__).parent / "report")
        path.with_suffix(".zip").rename(path)
    elif name == "a.onnx":
        shutil.copy(DEFAULT_MODEL, path)
    elif name == "a.png":
        cv2.imwrite(str(path), np.random.default_rng(1).integers(0, 255, (48, 48), np.uint8))
    else:
        texts = {"a.json": '{"a": [1, 2]}', "a.csv": "a,b,c\n1,2,3\n4,5,6", "a.html": "<html><body></body></html>"}
        path.write_text(texts[name])
    assert killing.damaged_files(tmp_path) == []
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 1])
    assert killing.damaged_files(tmp_path)[0].startswith(f"folder/{name} ")
    path.rename(path.with_name(f".{name}"))
    assert killing.damaged_files(tmp_path) == []


def test_a_manifest_of_missing_files_is_detected(killing: ModuleType, tmp_path: Path) -> None:
    """Guards against an export that writes its manifest before its files."""
    manifest = Path(__file__).parents[1] / "models" / "nano" / "manifest.json"
    files = [row["file"] for row in json.loads(manifest.read_text())["artifacts"]]
    for name in (manifest.name, *files):
        shutil.copy(manifest.with_name(name), tmp_path)
    assert killing.damaged_files(tmp_path) == []
    (tmp_path / files[0]).unlink()
    assert killing.damaged_files(tmp_path)[0].startswith("manifest.json ")
