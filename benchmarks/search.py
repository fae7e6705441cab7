"""Throughput of several workers of a search, and the time that the search itself takes.

    python benchmarks/search.py [--seconds 60] [--rounds 2]

In turns, studies of equal seconds on two cores: one worker of one thread on a journal, four of them on a journal, and
four on a PostgreSQL server that is started for it (Debian: postgresql). All trials train the same small network, so
that their numbers can be compared; they are counted from the first trial's start to the last one's end, after imports.
The overhead is what one worker spends outside of measuring and training: sampler, storage, results after each trial.
Targets: at least 1.7 times the trials of one worker, at most 2% overhead, and no error.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from optuna.trial import TrialState

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))
from postgres_server import POSTGRES_PROGRAMS, PostgresServer

from feredge.data import load
from feredge.search.processes import run_workers
from feredge.search.study import STUDY_SCHEMA, StudyFolder, StudySettings
from feredge.search.trials import SECONDS_ATTRIBUTE, TrialStore
from feredge.search.worker import WorkerOptions

MIN_RATIO, MAX_OVERHEAD = 1.7, 0.02
CORES, WORKERS, FACES = 2, 4, 2100
SPACE = {
    "name": "throughput",
    "search": {"recipe": "demo", "latency": False},
    "data": {"size": 24},
    "network": {"stem": 8, "channels": [16], "blocks": [1]},
    "training": {"epochs": 3, "learning_rate": {"low": 0.01, "high": 0.1, "log": True}},
}


@dataclass(frozen=True)
class Throughput:
    """Trials a minute of a study, and the share of its time outside of measuring and training, per worker."""

    per_minute: float
    overhead: float


def main() -> int:
    """Measure in turns, and print the ratios; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of a study, imports included")
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(range(CORES)))
    measured: dict[str, list[Throughput]] = {"1 worker, journal": [], f"{WORKERS} workers, journal": []}
    with tempfile.TemporaryDirectory(prefix="feredge-") as folder:
        database = Path(folder) / "database"
        Path(folder).chmod(0o755)  # the server's user enters it
        database.mkdir()
        server = PostgresServer(database) if POSTGRES_PROGRAMS else None
        if server is not None:
            measured[f"{WORKERS} workers, PostgreSQL"] = []
        try:
            for number in range(args.rounds):
                for name, results in measured.items():
                    url = server.url if server is not None and "PostgreSQL" in name else None
                    out = Path(folder) / f"{number} {name}"
                    results.append(measure(out, int(name.split()[0]), args.seconds, seed=number, url=url))
                    print(f"{name}: {results[-1].per_minute:.1f} trials a minute", flush=True)
        finally:
            if server is not None:
                server.stop()
    if server is None:
        print("no PostgreSQL server (Debian: postgresql)")
    return summarize(measured)


def summarize(measured: dict[str, list[Throughput]]) -> int:
    """Print each ratio to one worker of the same round, and the overhead; return 1 if a target is missed."""
    one_worker, *others = measured.items()
    missed = False
    for name, results in others:
        ratios = [many.per_minute / one.per_minute for many, one in zip(results, one_worker[1], strict=True)]
        missed |= median(ratios) < MIN_RATIO
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{name}: {shown} times the trials of one (median {median(ratios):.2f}; target at least {MIN_RATIO})")
    overhead = median(result.overhead for result in one_worker[1])
    print(f"overhead of the search, {one_worker[0]}: {overhead:.2%} (target at most {MAX_OVERHEAD:.0%})")
    return int(missed or overhead > MAX_OVERHEAD)


def measure(out: Path, workers: int, seconds: float, *, seed: int, url: str | None) -> Throughput:
    """Run a study of one-thread workers; an error of a worker is raised."""
    source = f"drawn:{FACES}"
    digest = load(source, size=24).digest
    settings = StudySettings(STUDY_SCHEMA, SPACE, source, digest, seed=seed, storage="database" if url else "journal")
    folder = StudyFolder.claim(out, settings)
    run_workers(WorkerOptions(out, url, source, deadline=time.time() + seconds, threads=1), workers)
    trials = TrialStore(folder, settings, url).trials()
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    starts = [trial.datetime_start for trial in trials if trial.datetime_start is not None]
    ends = [trial.datetime_complete for trial in ended if trial.datetime_complete is not None]
    wall = (max(ends) - min(starts)).total_seconds()
    phases = [trial.user_attrs[SECONDS_ATTRIBUTE] for trial in ended]
    working = sum(one["measuring"] + one.get("training", 0.0) - one["storage"] for one in phases)
    return Throughput(60.0 * len(ended) / wall, 1.0 - working / (workers * wall))


if __name__ == "__main__":
    sys.exit(main())
