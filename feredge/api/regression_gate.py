"""Comparison of a benchmark with earlier results, for CI."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feredge.benchmark import Results
    from feredge.benchmark.regression import RegressionReport

MAX_DROP_PP = 0.5
MAX_LATENCY_RATIO = 1.10


@dataclass(frozen=True)
class Baseline:
    """Earlier results, and how much worse a file may be.

    Attributes:
        results: the results file.
        max_drop: percentage points of accuracy that a file may lose since then.
        max_latency_ratio: allowed ratio of a file's latency, and of its instructions, to the earlier ones.
    """

    results: Path
    max_drop: float = MAX_DROP_PP
    max_latency_ratio: float = MAX_LATENCY_RATIO


@dataclass(frozen=True, eq=False)
class Gate:
    """Earlier results, and the limits of a comparison with them."""

    limits: Baseline
    results: Results

    def check_data(self, digest: str) -> None:
        """Raise ResultsError if the data are not the baseline's; called before hours of measuring."""
        from feredge.benchmark.regression import check_data

        check_data(self.results.data.digest, digest, str(self.limits.results))

    def compare(self, results: Results) -> RegressionReport:
        """Return the regressions since the baseline."""
        from feredge.benchmark.regression import find_regressions

        limits = self.limits
        return find_regressions(
            results, self.results, max_drop_pp=limits.max_drop, max_slowdown=limits.max_latency_ratio
        )


def read_gate(baseline: Baseline | str | PathLike[str]) -> Gate:
    """Return the gate of earlier results.

    Raises:
        ResultsError: no such results.
    """
    from feredge.benchmark import Results

    limits = baseline if isinstance(baseline, Baseline) else Baseline(Path(baseline))
    return Gate(limits, Results.read(limits.results))
