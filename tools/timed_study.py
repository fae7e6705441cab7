"""A study in a process of its own, on one core and one thread, for some seconds."""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TimedStudy:
    """What the process gets.

    Attributes:
        space: path of the space.
        overrides: of its values.
        out: the study folder.
        dataset: of the space's size.
        seed: of the sampler.
        seconds: of the search.
        max_kb: limit of the candidates' size.
        core: CPU core that it runs on.
    """

    space: Path
    overrides: tuple[str, ...]
    out: Path
    dataset: Any
    seed: int
    seconds: float
    max_kb: float
    core: int


def run(study: TimedStudy, barrier: Any, pipe: Any) -> None:
    """Run a study in this process, and send its figures through the pipe.

    Its seconds begin behind the barrier, which the processes that are compared reach with TensorFlow imported.
    """
    os.sched_setaffinity(0, {study.core})
    from feredge.benchmark.workers.client import THREAD_VARIABLES

    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    import feredge
    from feredge.keras import tf
    from feredge.search import study_run  # noqa: F401 - imported before the clock runs

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    barrier.wait()
    start, cpu_start = time.monotonic(), _cpu_seconds()
    results = feredge.search(
        study.space,
        study.dataset,
        out=study.out,
        hours=study.seconds / 3600.0,
        max_kb=study.max_kb,
        overrides=study.overrides,
        seed=study.seed,
    ).results
    pipe.send(
        {
            "seconds": time.monotonic() - start,
            "cpu_seconds": _cpu_seconds() - cpu_start,
            "states": dict(Counter(trial.state for trial in results.trials)),
        }
    )


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
