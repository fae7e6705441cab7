"""SIGTERM ends a command as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from feredge.cli import main


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start a command as the leader of a process group, with the system's own handling of signals."""
    return subprocess.Popen(
        [sys.executable, "-m", "feredge", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in (signal.SIGINT, signal.SIGTERM)],
    )


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    """Wait until a file stands in `folder`."""
    end = time.monotonic() + 120
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a video that takes longer than a test waits."""
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (640, 480))
    for number in range(2000):
        writer.write(np.full((480, 640, 3), number % 255, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_video_that_was_stopped(small_onnx: Path, clip: Path, tmp_path: Path, how: signal.Signals, code: int) -> None:
    """Guards against hidden half-written files; after SIGKILL they stay until the next run."""
    arguments = ["track", "--model", small_onnx, clip, "--csv", tmp_path / "t.csv"]
    process = start(*arguments, "--out", tmp_path / "t.avi")
    wait_for(tmp_path, ".t.*.avi", process)
    process.send_signal(how)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == code, error
    assert bool(list(tmp_path.iterdir())) == (how == signal.SIGKILL)
    if how == signal.SIGKILL:
        short = start("track", "--model", small_onnx, clip, "--cropped", "--csv", tmp_path / "t.csv")
        assert short.communicate(timeout=120)[1] is not None and short.returncode == 0
        assert [path.name for path in tmp_path.iterdir() if path.suffix == ".csv"] == ["t.csv"]
    else:
        assert error.splitlines()[-1] == "error: stopped"


def test_sent_twice_to_the_whole_group(tmp_path: Path) -> None:
    """Guards `timeout` and service managers: all processes get it, the first twice, and the next start goes on."""
    run = tmp_path / "run"
    process = start("run", "nano", "--data", "drawn:700", "--out", run)
    wait_for(run, "*", process)
    process.send_signal(signal.SIGTERM)
    os.killpg(process.pid, signal.SIGTERM)
    error = process.communicate(timeout=120)[1]
    assert process.returncode == 143
    assert error.splitlines()[-1] == "error: stopped; the same command resumes from here"
    assert not list(run.rglob(".*"))


def test_the_handler_goes_with_the_command() -> None:
    """Guards programs that call the command line as a function: their own SIGTERM stays, and so does the default."""
    before = signal.getsignal(signal.SIGTERM)
    assert CliRunner().invoke(main, ["recipes"]).exit_code == 0
    assert signal.getsignal(signal.SIGTERM) == before
