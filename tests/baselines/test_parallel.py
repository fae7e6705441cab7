"""Parallel jobs. Each function comes from a library, so that worker processes can import it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from feredge.baselines.parallel import run_parallel
from feredge.errors import RunError


@pytest.mark.parametrize("jobs", [[], [4.0], [4.0, 9.0, 16.0]])
def test_every_job_is_done_once(jobs: list[float]) -> None:
    """Guards the three ways: nothing to do, one job in this process, several in their own."""
    assert sorted(run_parallel(math.sqrt, jobs)) == [math.sqrt(job) for job in jobs]


@pytest.mark.parametrize(
    ("function", "jobs", "expected"), [(time.sleep, [600, "x"], TypeError), (os._exit, [3, 3], RunError)]
)
def test_an_error_ends_the_other_jobs(function: Callable[[Any], Any], jobs: list[Any], expected: type) -> None:
    """Guards against waiting minutes for a fit whose result is discarded, and a traceback for a killed worker."""
    started = time.monotonic()
    with pytest.raises(expected):
        list(run_parallel(function, jobs))
    assert time.monotonic() - started < 300  # 600 seconds if the sleeper were waited for
