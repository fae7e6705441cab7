"""Run jobs in parallel, one process for each."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from typing import TypeVar

from feredge.inference.parallel import exit_with_parent, process_pool

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_parallel(function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    """Yield `function(job)` of each job in the order of completion; jobs are started in order.

    Each job has its own process and, if there are fewer jobs than cores, a share of the threads. A single job runs in
    this process. An error in one job stops the others.

    Raises:
        RunError: a worker process was killed.
    """
    cores = os.cpu_count() or 1
    if len(jobs) < 2:
        yield from (_run(function, job, cores) for job in jobs)
        return
    workers = min(len(jobs), cores)
    with process_pool(workers, initializer=_start_worker, task="baselines: a process") as pool:
        futures = [pool.submit(_run, function, job, max(1, cores // workers)) for job in jobs]
        for future in as_completed(futures):
            yield future.result()


def _start_worker() -> None:
    """Let a worker exit at once on Ctrl-C and when its parent process exits."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    exit_with_parent()


def _run(function: Callable[[Job], Result], job: Job, threads: int) -> Result:
    import joblib
    from threadpoolctl import threadpool_limits

    with (
        warnings.catch_warnings(action="ignore"),  # warnings of a solver would break the progress bar
        threadpool_limits(threads),
        joblib.parallel_config("threading", n_jobs=threads),
    ):
        return function(job)
