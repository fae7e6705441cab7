"""Trials in child processes: whatever happens to one is an error with its reason."""

from __future__ import annotations

import pytest

from feredge.diagnostics.trial import TrialError, TrialTimeoutError, run_code


def test_the_last_line_comes_back() -> None:
    """Guards results against what libraries print before them."""
    assert run_code("print('noise')\nprint('result')\nprint()", timeout_seconds=60) == "result"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import none_of_this_name", "No module named 'none_of_this_name'"),
        ("import os; os.kill(os.getpid(), 11)", "was killed by SIGSEGV"),
        ("raise SystemExit(3)", "ended with code 3"),
    ],
)
def test_a_failure_says_why(code: str, message: str) -> None:
    """Guards exceptions, crashes of native code, and exit codes."""
    with pytest.raises(TrialError, match=message):
        run_code(code, timeout_seconds=60)


def test_a_slow_machine_is_another_error() -> None:
    """Guards a sound installation against blame for a time limit."""
    with pytest.raises(TrialTimeoutError, match=r"expected an end within 0\.2 s, found none"):
        run_code("import time; time.sleep(60)", timeout_seconds=0.2)
