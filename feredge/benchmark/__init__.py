"""The benchmark: every file in a worker process of its own, timed in interleaved rounds, with paired statistics.

`collect_candidates` returns the test sets and their candidates, `measure_candidates` measures them and returns
`Results`. Names are imported on first use: each worker imports this package too, and its memory is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from feredge.callable_module import make_callable

if TYPE_CHECKING:
    from feredge.benchmark.candidates import Candidate, TestSet
    from feredge.benchmark.config import BenchmarkConfig
    from feredge.benchmark.harness import current_results, measure_candidates, write_results
    from feredge.benchmark.plan import BenchmarkPlan, collect_candidates
    from feredge.benchmark.results import Results, Row
    from feredge.benchmark.targets import TargetOptions

__all__ = [
    "BenchmarkConfig",
    "BenchmarkPlan",
    "Candidate",
    "Results",
    "Row",
    "TargetOptions",
    "TestSet",
    "collect_candidates",
    "current_results",
    "measure_candidates",
    "write_results",
]

_MODULE_OF = {
    "BenchmarkConfig": "config",
    "BenchmarkPlan": "plan",
    "Candidate": "candidates",
    "Results": "results",
    "Row": "results",
    "TargetOptions": "targets",
    "TestSet": "candidates",
    "collect_candidates": "plan",
    "current_results": "harness",
    "measure_candidates": "harness",
    "write_results": "harness",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'feredge.benchmark' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"feredge.benchmark.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


make_callable(__name__, "feredge.api.benchmarking:benchmark")
