"""The benchmark: every file in a worker process of its own, timed in interleaved rounds, compared image by image.

`gather` finds out what there is to measure, `compare` measures it, `Results` is what comes back.
Names load on first use, because each worker imports this package too, and its memory is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from feredge.callable_module import make_callable

if TYPE_CHECKING:
    from feredge.benchmark.candidates import Group, Subject
    from feredge.benchmark.harness import compare, standing, write
    from feredge.benchmark.latency import effort
    from feredge.benchmark.results import Effort, Results, Row
    from feredge.benchmark.targets import Asked, gather

__all__ = [
    "Asked",
    "Effort",
    "Group",
    "Results",
    "Row",
    "Subject",
    "compare",
    "effort",
    "gather",
    "standing",
    "write",
]

_HOMES = {
    "Asked": "targets",
    "Effort": "results",
    "Group": "candidates",
    "Results": "results",
    "Row": "results",
    "Subject": "candidates",
    "compare": "harness",
    "effort": "latency",
    "gather": "targets",
    "standing": "harness",
    "write": "harness",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'feredge.benchmark' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"feredge.benchmark.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


make_callable(__name__, "feredge.api.benchmarking:benchmark")
