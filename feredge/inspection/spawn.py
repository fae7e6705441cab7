"""Modules of feredge run as child processes: how one is started, and why it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import BinaryIO, cast

STDERR_TAIL_BYTES = 64 << 10


def spawn_module(module: str, variables: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], BinaryIO]:
    """Start `python -m module` with pipes for standard input and output; return it and the file of its standard error.

    Args:
        module: a module's full name.
        variables: of the environment, beside this process's own.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **variables}
    stderr = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe that is not read would block the child
    process = subprocess.Popen(
        # -P: a file in the current folder must not stand in for a package.
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
    )
    return process, cast(BinaryIO, stderr)


def signal_name(code: int | None) -> str:
    """Return the name of the signal that an exit code stands for, `SIGSEGV`; empty for any other code."""
    return signal.Signals(-code).name if code is not None and code < 0 else ""


def stderr_lines(stderr: BinaryIO) -> list[str]:
    """Return the last lines of a child's standard error, without empty ones."""
    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - STDERR_TAIL_BYTES))
    return [line.strip() for line in stderr.read().decode(errors="replace").splitlines() if line.strip()]
