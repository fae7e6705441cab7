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


def test_a_process_that_outlives_its_command_is_seen(killing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a check that passes because it looks at the killed process alone."""
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
    """Guards counts against kills that met nothing."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        assert not killing.kill_when(process, lambda: False)


@pytest.mark.parametrize("name", ["a.json", "a.npz", "a.onnx", "a.csv", "a.png", "a.keras", "a.html"])
def test_half_a_file_is_seen(killing: ModuleType, tmp_path: Path, name: str) -> None:
    """Guards the check against files that it opens too lightly; a hidden one is unfinished, and says so by its name."""
    import cv2

    whole = tmp_path / "whole" / name
    whole.parent.mkdir()
    if name == "a.npz":
        np.savez(whole, a=np.arange(1000))
    elif name == "a.keras":
        shutil.make_archive(str(whole.with_suffix("")), "zip", Path(__file__).parent / "report")
        whole.with_suffix(".zip").rename(whole)
    elif name == "a.onnx":
        shutil.copy(DEFAULT_MODEL, whole)
    elif name == "a.png":
        cv2.imwrite(str(whole), np.random.default_rng(1).integers(0, 255, (48, 48), np.uint8))
    else:
        texts = {"a.json": '{"a": [1, 2]}', "a.csv": "a,b,c\n1,2,3\n4,5,6", "a.html": "<html><body></body></html>"}
        whole.write_text(texts[name])
    assert killing.damaged_files(tmp_path) == []
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2 + 1])
    assert killing.damaged_files(tmp_path)[0].startswith(f"whole/{name} ")
    whole.rename(whole.with_name(f".{name}"))
    assert killing.damaged_files(tmp_path) == []


def test_a_manifest_of_files_that_are_not_there_is_seen(killing: ModuleType, tmp_path: Path) -> None:
    """Guards against an export whose manifest stands before its files do."""
    manifest = Path(__file__).parents[1] / "models" / "nano" / "manifest.json"
    files = [row["file"] for row in json.loads(manifest.read_text())["artifacts"]]
    for name in (manifest.name, *files):
        shutil.copy(manifest.with_name(name), tmp_path)
    assert killing.damaged_files(tmp_path) == []
    (tmp_path / files[0]).unlink()
    assert killing.damaged_files(tmp_path)[0].startswith("manifest.json ")
