"""Functions tried in a child process of their own, which may fail in any way, even by a crash of native code."""

from __future__ import annotations

import os
import subprocess
import sys

from feredge.inspection.spawn import signal_name

TRIAL_VARIABLES = {"TF_CPP_MIN_LOG_LEVEL": "3", "FEREDGE_GPU": "0"}
MAX_MESSAGE_LENGTH = 200


class TrialError(Exception):
    """A child process that failed: the last line of its traceback, its signal, or its time limit."""


class TrialTimeoutError(TrialError):
    """A child process that did not end within its time limit."""


def run_code(code: str, *, timeout_seconds: float) -> str:
    """Run Python code in a new process of this installation, and return the last line that it prints.

    Raises:
        TrialError: it ended with an error or a signal; TrialTimeoutError if not at all.
    """
    environment = {**os.environ, **TRIAL_VARIABLES, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    # -P: a file in the current folder must not stand in for a package.
    command = [sys.executable, "-P", "-W", "ignore", "-c", code]
    try:
        done = subprocess.run(
            command, capture_output=True, env=environment, timeout=timeout_seconds, errors="replace", check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TrialTimeoutError(f"expected an end within {timeout_seconds:g} s, found none") from error
    except OSError as error:
        raise TrialError(f"expected that {sys.executable} starts ({error.strerror})") from error
    if signal_name(done.returncode):
        raise TrialError(f"was killed by {signal_name(done.returncode)}")
    lines = [line.strip() for line in (done.stderr if done.returncode else done.stdout).splitlines() if line.strip()]
    last = lines[-1] if lines else f"ended with code {done.returncode}"
    if done.returncode:
        raise TrialError(last[:MAX_MESSAGE_LENGTH])
    return last
