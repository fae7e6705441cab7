"""Selection of a file by limits on drop, size and latency: a gate for CI, from results alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from feredge.benchmark.metrics import Timing
from feredge.benchmark.results import ALL_THROTTLED, Results, Row
from feredge.errors import ResultsError
from feredge.report.recommendation import smallest_of_fastest


@dataclass(frozen=True)
class Budget:
    """Upper limits of a file; infinity sets none.

    Attributes:
        max_drop_pp: measured drop in accuracy, in percentage points.
        max_size_kb: size on disk, in kilobytes of 1,000 bytes.
        max_ram_kb: a C library's arena of activations, in kilobytes of 1,000 bytes; no other file states its own.
        max_flash_kb: constant data of a C library, weights and tables, without its code.
        max_p90_ms: 90th percentile of the inference of one image at one thread, in ms.
    """

    max_drop_pp: float = math.inf
    max_size_kb: float = math.inf
    max_p90_ms: float = math.inf
    max_ram_kb: float = math.inf
    max_flash_kb: float = math.inf

    def __post_init__(self) -> None:
        """Raise ResultsError for limits that must be mistyped: no file, or hardly any, meets them."""
        limits = {"drop": self.max_drop_pp, "size": self.max_size_kb, "latency": self.max_p90_ms}
        for name, value in (limits | {"RAM": self.max_ram_kb, "flash size": self.max_flash_kb}).items():
            if math.isnan(value) or value < 0 or (name != "drop" and value == 0):
                raise ResultsError(f"expected a {name} that a file can have, found a limit of {value:g}")


@dataclass(frozen=True)
class Selection:
    """The selected file, None where no file is within the budget, and the reason against every other file.

    Attributes:
        all_throttled: no file has a latency from a round without throttling, so that none can be selected.
        timing: the selected file's latency in rounds without throttling, which the selection is based on.
    """

    selected: Row | None
    rejected: tuple[tuple[Row, str], ...]
    all_throttled: bool = False
    timing: Timing | None = None


def select(results: Results, budget: Budget, *, device: Results | None = None) -> Selection:
    """Select, of the files within the budget whose median is within 10% of the fastest, the smallest.

    Rounds with CPU throttling are excluded.

    Args:
        results: of a run: accuracy, drop and size, and latency where no `device` is given.
        budget: the limits.
        device: results of the same files on another machine, whose latencies are used instead; files are matched by
            SHA-256.

    Raises:
        ResultsError: no artifacts, or results of a device that has none of these files.
    """
    rows = _artifacts(results)
    if not rows:
        raise ResultsError("expected results of artifacts, found none; run `feredge bench`")
    by_digest = {row.sha256: row for row in _artifacts(device or results) if row.sha256}
    if not by_digest:
        raise ResultsError("expected files with a digest in the results, found none")
    if not any(row.sha256 in by_digest for row in rows):
        raise ResultsError("expected the device's results to be of this run's files, found none of them")
    timed_rows = {row.name: row if device is None else by_digest.get(row.sha256) for row in rows}
    timings = {name: row.valid_main_latency if row else None for name, row in timed_rows.items()}
    throttled = {name for name, row in timed_rows.items() if row and row.always_throttled}
    violations = {
        row.name: _violations(row, timings[row.name], budget, throttled=row.name in throttled) for row in rows
    }
    fitting = [row for row in rows if not violations[row.name]]
    if not fitting:
        rejected = tuple((row, "; ".join(violations[row.name])) for row in rows)
        return Selection(None, rejected, bool(throttled) and not any(timings.values()))
    medians_ms = {row.name: timing.median for row in fitting if (timing := timings[row.name])}
    selected, fast_rows, fastest_ms = smallest_of_fastest(fitting, lambda row: medians_ms[row.name])
    reasons = []
    for row in rows:
        if row is selected:
            continue
        reason = "; ".join(violations[row.name])
        if not reason and row in fast_rows:
            reason = f"fits, but is larger or no faster: {row.bytes / 1000:.0f} KB, {medians_ms[row.name]:.3f} ms"
        elif not reason:
            reason = f"fits, but is slower: median {medians_ms[row.name]:.3f} ms, the fastest {fastest_ms:.3f} ms"
        reasons.append((row, reason))
    return Selection(selected, tuple(reasons), timing=timings[selected.name])


def _artifacts(results: Results) -> list[Row]:
    """Return the rows of files in their format's default runtime."""
    return [row for row in results.rows if row.kind == "artifact" and not row.runtime]


def _violations(row: Row, timing: Timing | None, budget: Budget, *, throttled: bool) -> list[str]:
    """Return each limit that a row exceeds, or cannot be compared with."""
    if row.failure is not None:
        return [f"could not be measured ({row.failure})"]
    violations = []
    if row.drop is None and math.isfinite(budget.max_drop_pp):
        violations.append("its drop is not known")
    elif row.drop is not None and row.drop.pp > budget.max_drop_pp:
        interval = f"[{row.drop.low:.2f}, {row.drop.high:.2f}]"
        violations.append(f"loses {row.drop.pp:.3f} pp {interval}, allowed {budget.max_drop_pp:g}")
    if row.bytes > budget.max_size_kb * 1000:
        violations.append(f"{row.bytes / 1000:.0f} KB, allowed {budget.max_size_kb:g}")
    for name, size, limit in (
        ("RAM", row.arena_bytes, budget.max_ram_kb),
        ("flash", row.constant_bytes, budget.max_flash_kb),
    ):
        if size is None and math.isfinite(limit):
            violations.append(f"its {name} is not known, only that of C libraries is")
        elif size is not None and size > limit * 1000:
            violations.append(f"{size / 1000:.1f} KB of {name}, allowed {limit:g}")
    if throttled:
        violations.append(ALL_THROTTLED)
    elif timing is None:
        violations.append("was not timed at one thread")
    elif timing.p90 > budget.max_p90_ms:
        violations.append(f"p90 {timing.p90:.3f} ms, allowed {budget.max_p90_ms:g}")
    return violations
