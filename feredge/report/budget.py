"""The file that fits a budget, and what is wrong with each other: a gate for CI, from results alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from feredge.benchmark.metrics import Timing
from feredge.benchmark.results import ALL_THROTTLED, Results, Row
from feredge.errors import ResultsError
from feredge.report.recommend import smallest_of_fastest


@dataclass(frozen=True)
class Budget:
    """Limits; infinite ones ask for nothing.

    Attributes:
        drop: percentage points of accuracy, as measured.
        kilobytes: of 1,000 bytes, on disk.
        p90: of the inference of one face at one thread, in ms.
    """

    drop: float = math.inf
    kilobytes: float = math.inf
    p90: float = math.inf

    def __post_init__(self) -> None:
        """Refuse limits that nothing can meet."""
        for name, value in (("drop", self.drop), ("size", self.kilobytes), ("latency", self.p90)):
            if math.isnan(value) or value < 0 or (name != "drop" and value == 0):
                raise ResultsError(f"expected a {name} that a file can have, found a limit of {value:g}")


@dataclass(frozen=True)
class Selection:
    """The winner, None where nothing fits, and of every other artifact why it was not taken.

    Attributes:
        all_slowed: no file was timed in a round whose clock was not held down, so that none can be chosen.
    """

    winner: Row | None
    others: tuple[tuple[Row, str], ...]
    all_slowed: bool = False


def select(results: Results, budget: Budget, *, device: Results | None = None) -> Selection:
    """Take what fits the budget; of that what is within 10% of the fastest by its median; of that the smallest.

    Rounds in which the clock was held down take no part.

    Args:
        results: of a run: accuracy, drop and size, and latency where no `device` is given.
        budget: what is allowed.
        device: results of the same files elsewhere, whose latencies count instead; files are matched by SHA-256.

    Raises:
        ResultsError: no artifacts; or results of a device that has none of these files.
    """
    rows = _artifacts(results)
    if not rows:
        raise ResultsError("expected results of artifacts, found none; run `feredge bench`")
    clocks = {row.sha256: row for row in _artifacts(device or results) if row.sha256}
    if not any(row.sha256 in clocks for row in rows):
        raise ResultsError("expected the device's results to be of this run's files, found none of them")
    clocked = {row.name: row if device is None else clocks.get(row.sha256) for row in rows}
    timed = {name: clock.valid_headline if clock else None for name, clock in clocked.items()}
    slowed = {name for name, clock in clocked.items() if clock and clock.always_throttled}
    reasons = {row.name: _misses(row, timed[row.name], budget, slowed=row.name in slowed) for row in rows}
    fitting = [row for row in rows if not reasons[row.name]]
    if not fitting:
        return Selection(
            None, tuple((row, "; ".join(reasons[row.name])) for row in rows), bool(slowed) and not any(timed.values())
        )
    medians = {row.name: found.median for row in fitting if (found := timed[row.name])}
    winner, quick, fastest = smallest_of_fastest(fitting, lambda row: medians[row.name])
    others = []
    for row in rows:
        if row is winner:
            continue
        reason = "; ".join(reasons[row.name])
        if not reason and row in quick:
            reason = f"fits, but is larger or no faster: {row.bytes / 1000:.0f} KB, {medians[row.name]:.3f} ms"
        elif not reason:
            reason = f"fits, but is slower: median {medians[row.name]:.3f} ms, the fastest {fastest:.3f} ms"
        others.append((row, reason))
    return Selection(winner, tuple(others))


def _artifacts(results: Results) -> list[Row]:
    """Return the files in their formats' own runtimes."""
    return [row for row in results.rows if row.kind == "artifact" and not row.runtime]


def _misses(row: Row, timed: Timing | None, budget: Budget, *, slowed: bool) -> list[str]:
    if row.failure is not None:
        return [f"could not be measured ({row.failure})"]
    found = []
    if row.drop is None and math.isfinite(budget.drop):
        found.append("its drop is not known")
    elif row.drop is not None and row.drop.pp > budget.drop:
        interval = f"[{row.drop.low:.2f}, {row.drop.high:.2f}]"
        found.append(f"loses {row.drop.pp:.3f} pp {interval}, allowed {budget.drop:g}")
    if row.bytes > budget.kilobytes * 1000:
        found.append(f"{row.bytes / 1000:.0f} KB, allowed {budget.kilobytes:g}")
    if slowed:
        found.append(ALL_THROTTLED)
    elif timed is None:
        found.append("was not timed at one thread")
    elif timed.p90 > budget.p90:
        found.append(f"p90 {timed.p90:.3f} ms, allowed {budget.p90:g}")
    return found
