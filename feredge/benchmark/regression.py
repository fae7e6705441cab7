"""The regression gate: compare new results with earlier ones, file by file, and list what got worse than is allowed.

Accuracies compare wherever the test images are the same. On the same machine a file counts as slower only where both
its own median and its ratio to the float model grew: a busy or hot machine slows the float model as well. Between
machines the ratio alone is compared. Instruction counts compare everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from feredge.benchmark.formatting import percent
from feredge.benchmark.results import ALL_THROTTLED, Machine, Results, Row
from feredge.errors import ResultsError


@dataclass(frozen=True)
class RegressionReport:
    """Result of a comparison with earlier results.

    Attributes:
        files: number of artifacts in both results.
        regressions: a line for each metric that got worse than is allowed.
        notes: what could not be compared, and a change of the machine's own speed.
    """

    files: int
    regressions: tuple[str, ...]
    notes: tuple[str, ...]


def find_regressions(
    results: Results, baseline: Results, *, max_drop_pp: float, max_slowdown: float
) -> RegressionReport:
    """Compare `results` with `baseline`, earlier results.

    Args:
        max_drop_pp: accuracy that a file may lose, in percentage points.
        max_slowdown: ratio by which latency and instructions may grow.

    Raises:
        ResultsError: other data, other test images, or no file in common.
    """
    check_data(baseline.data.digest, results.data.digest, "the earlier results")
    rows = {row.name: row for row in results.rows}
    pairs = [(old, rows.get(old.name)) for old in baseline.rows if old.kind == "artifact" and old.failure is None]
    if any(new is not None and not baseline.same_test_images(old, results, new) for old, new in pairs):
        raise ResultsError("the earlier results: expected the same test images and classes, found others")
    files = sum(new is not None for _, new in pairs)
    if not files:
        raise ResultsError("the earlier results: expected files of the same names, found none")
    latency = _LatencyComparison(results, baseline)
    notes = list(latency.notes)
    throttled = [new.name for old, new in pairs if new is not None and (old.always_throttled or new.always_throttled)]
    if throttled:
        notes.insert(0, f"gate: {ALL_THROTTLED} of {', '.join(throttled)}: these latencies were not compared")
    regressions = [
        f"{old.name}: {line}"
        for old, new in pairs
        for line in _file_regressions(old, new, latency, max_drop_pp, max_slowdown)
    ]
    return RegressionReport(files, tuple(regressions), tuple(notes))


def check_data(baseline_digest: str, digest: str, where: str) -> None:
    """Raise ResultsError, naming `where`, unless two digests of data are the same."""
    if baseline_digest != digest:
        raise ResultsError(f"{where}: expected results on data of SHA-256 {digest[:12]}, found {baseline_digest[:12]}")


def _file_regressions(
    old: Row, new: Row | None, latency: _LatencyComparison, max_drop_pp: float, max_slowdown: float
) -> list[str]:
    if new is None:
        return ["was measured before, is missing now"]
    if new.failure is not None:
        return [f"failed ({new.failure})"]
    lines = [
        _accuracy_regression(old, new, max_drop_pp),
        latency.regression(old, new, max_slowdown),
        *_instruction_regressions(old, new, max_slowdown),
    ]
    return [line for line in lines if line]


def _accuracy_regression(old: Row, new: Row, max_drop_pp: float) -> str:
    if old.accuracy is None or new.accuracy is None:
        return ""
    drop_pp = 100 * (old.accuracy.correct / old.accuracy.images - new.accuracy.correct / new.accuracy.images)
    if drop_pp <= max_drop_pp + 1e-9:  # rounding of the fractions must not fail a drop of exactly the limit
        return ""
    before, after = percent(old.accuracy), percent(new.accuracy)
    return f"accuracy {after} %, was {before} %: dropped by {drop_pp:.2f} pp, allowed {max_drop_pp:g}"


def _instruction_regressions(old: Row, new: Row, max_ratio: float) -> list[str]:
    by_core = {instructions.core: instructions for instructions in new.instructions}
    lines = []
    for core, before in ((instructions.core, instructions.count) for instructions in old.instructions):
        after = by_core.get(core)
        if not before or after is None:
            continue
        if not after.count:
            lines.append(f"instructions on {core} were counted before, not now ({after.failure})")
        elif after.count / before > max_ratio:
            lines.append(
                f"instructions on {core} {after.count / before:.2f} times what they were, allowed {max_ratio:g}"
            )
    return lines


class _LatencyComparison:
    """How latencies of two results compare: by medians, by ratios to the float model, by both, or not at all."""

    def __init__(self, results: Results, baseline: Results) -> None:
        self._same_machine = _machine_key(results.machine) == _machine_key(baseline.machine)
        new, old = results.reference, baseline.reference
        self._reference_ratio = new.latency_ratio(old) if new and old else None
        self.notes = []
        if not self._same_machine and self._reference_ratio is None:
            self.notes.append("gate: another machine, and no float model timed in both: latencies were not compared")
        elif not self._same_machine:
            self.notes.append("gate: another machine: latencies are compared by their ratio to the float model's")
        elif self._reference_ratio is not None and abs(self._reference_ratio - 1) > 0.05:
            self.notes.append(
                f"gate: the float model takes {self._reference_ratio:.2f} times as long as before; a file is slower "
                "where its median and its ratio to the float model both are"
            )

    def regression(self, old: Row, new: Row, max_ratio: float) -> str:
        """Describe a file's slowdown by more than `max_ratio`; empty if there is none, or it cannot be determined."""
        before, after, ratio = old.valid_main_latency, new.valid_main_latency, new.latency_ratio(old)
        if before is None or after is None or ratio is None:
            return ""
        ratios = {}
        if self._same_machine:
            ratios["median"] = ratio
        if self._reference_ratio is not None:
            ratios["ratio to the float model"] = ratio / self._reference_ratio
        if not ratios or min(ratios.values()) <= max_ratio:
            return ""
        noisy = " (noisy: its rounds differ by more than 10%)" if after.noisy else ""
        changes = ", ".join(f"{name} {value:.2f} times what it was" for name, value in ratios.items())
        return f"{after.median:.3f} ms, was {before.median:.3f}: {changes}, allowed {max_ratio:g}{noisy}"


def _machine_key(machine: Machine) -> tuple[object, ...]:
    """Return what identifies a machine; not its software versions, whose effects the gate is to detect."""
    return machine.cpu, machine.architecture, machine.cores, machine.governor, machine.flags
