"""Other programs (compilers, emulators, browsers), run with a time limit."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from feredge.errors import FeredgeError

MAX_LINE_LENGTH = 200


class ProgramError(FeredgeError):
    """A program that does not start, or does not end within its time limit."""


def run_program(
    command: Sequence[str], *, timeout_seconds: float, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, and return its exit status and what it printed.

    Args:
        command: the program and its arguments.
        timeout_seconds: when it is killed.
        folder: to run in; by default the current one.

    Raises:
        ProgramError: it does not start, or does not end in time.
    """
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace", timeout=timeout_seconds
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramError(f"{command[0]} does not end within {timeout_seconds:g} s") from error
    except OSError as error:
        raise ProgramError(f"{command[0]} does not start: {error.strerror}") from error


def wait_or_kill(process: subprocess.Popen[bytes], *, timeout_seconds: float) -> int:
    """Wait for a process to end, kill it if it has not after `timeout_seconds`, and return its exit code."""
    try:
        return process.wait(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def first_line(done: subprocess.CompletedProcess[str], word: str = "") -> str:
    """Return the first printed line with `word`, or else the first of all, or else the exit status."""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    lines.append(f"exit status {done.returncode}")
    return next((line for line in lines if word in line), lines[0])[:MAX_LINE_LENGTH]
