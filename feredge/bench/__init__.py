"""The benchmark: every file in a worker process of its own, timed in interleaved rounds, compared image by image.

`bench` measures a run and writes its results; `Results` is what comes back. Names load on first use, because each
worker imports this package too, and its memory is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feredge.bench.harness import bench, compare, compare_groups, standing, write
    from feredge.bench.latency import effort
    from feredge.bench.results import Effort, Results, Row
    from feredge.bench.targets import Asked, gather
    from feredge.bench.trial import Subject

__all__ = [
    "Asked",
    "Effort",
    "Results",
    "Row",
    "Subject",
    "bench",
    "compare",
    "compare_groups",
    "effort",
    "gather",
    "standing",
    "write",
]

_HOMES = {
    "Asked": "targets",
    "Effort": "results",
    "Results": "results",
    "Row": "results",
    "Subject": "trial",
    "bench": "harness",
    "compare": "harness",
    "compare_groups": "harness",
    "effort": "latency",
    "gather": "targets",
    "standing": "harness",
    "write": "harness",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'feredge.bench' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"feredge.bench.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
