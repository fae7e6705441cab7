"""What the commands share."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from feredge.commands import shared
from feredge.progress import heartbeat


def test_a_log_gets_lines_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards runs under nohup and in CI: hours without a word look like a hang, and a line a step is no log either."""
    clock = iter([0.0, 10.0, 29.0, 31.0, 32.0, 40.0, 41.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with shared.bars() as progress:
        for done in range(5):
            progress("train", done, 5, f"epoch {done}")
        progress("train", 5, 5, "evaluating")
        progress("train", 5, 5, "done")
    lines = [line.split("  ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["train 0/5  epoch 0", "train 3/5  epoch 3", "train 5/5  evaluating"]


def test_silence_is_broken_by_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards minutes without a word, in which nobody can tell work from a hang; nothing goes to standard output."""
    with heartbeat("opening TensorFlow", period=0.05) as beat:
        time.sleep(0.3)
        beat.printed("layers")
        time.sleep(0.2)
    out, err = capsys.readouterr()
    assert "opening TensorFlow, still running after" in err and "layers, still" in err.splitlines()[-1] and out == ""
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_what_is_printed_often_needs_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards logs against lines that say nothing new."""
    with heartbeat("train", period=5.0) as beat:
        beat.printed("train")
    assert capsys.readouterr().err == ""


def test_the_line_is_seen_while_native_code_is_silenced() -> None:
    """Guards opening TensorFlow, during which standard error goes nowhere."""
    code = (
        "import os, time\nfrom feredge.progress import heartbeat\nwith heartbeat('opening', period=0.05):\n"
        "    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)\n    time.sleep(0.3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "opening, still running" in done.stderr
