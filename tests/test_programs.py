"""Programs with a time limit: what fails is said in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from feredge.programs import ProgramError, first_line, run_program, wait_or_kill


def test_a_program_in_its_folder(tmp_path: Path) -> None:
    """Guards the working folder, and output that is no text against a traceback."""
    code = "import os, sys; sys.stdout.buffer.write(os.getcwd().encode() + bytes([255]))"
    done = run_program([sys.executable, "-c", code], timeout_seconds=60, folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}\ufffd")


def test_a_program_that_does_not_start_or_end() -> None:
    """Guards callers against two kinds of exceptions, and against a whole command line in a message."""
    with pytest.raises(ProgramError, match=r"^no-such-program does not start: No such file"):
        run_program(["no-such-program"], timeout_seconds=1)
    with pytest.raises(ProgramError, match=r"does not end within 0\.2 s$"):
        run_program([sys.executable, "-c", "import time; time.sleep(60)"], timeout_seconds=0.2)


@pytest.mark.parametrize(("code", "exit_code"), [("raise SystemExit(3)", 3), ("import time; time.sleep(60)", -9)])
def test_a_process_is_waited_for_or_killed(code: str, exit_code: int) -> None:
    """Guards against a process that survives, and against the loss of its exit code."""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        assert wait_or_kill(process, timeout_seconds=60 if exit_code == 3 else 0.2) == exit_code


@pytest.mark.parametrize(
    ("code", "word", "line"),
    [
        ("print(); print('note'); print('an error'); raise SystemExit(3)", "error", "an error"),
        ("print('note'); raise SystemExit(3)", "error", "note"),
        ("raise SystemExit(3)", "", "exit status 3"),
    ],
)
def test_the_line_that_says_why(code: str, word: str, line: str) -> None:
    """Guards messages against an empty reason, and against a compiler's notes before its error."""
    assert first_line(run_program([sys.executable, "-c", code], timeout_seconds=60), word) == line
