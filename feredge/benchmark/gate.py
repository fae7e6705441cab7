"""The gate: new results held against earlier ones, file by file, and what got worse by more than is let pass.

Accuracies compare wherever the test images are the same. Times compare themselves only on the same machine; and even
there a machine that is slower as a whole, because it is busy or hot, slows the float model as well, so a file is called
slower where it is both by its own median and by its ratio to the float model. Between machines the ratio alone is
asked. Counted instructions compare everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from feredge.benchmark.formatting import percent
from feredge.benchmark.results import ALL_SLOWED, Machine, Results, Row
from feredge.errors import ResultsError


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
        files: artifacts that both results have.
        worse: a line for each thing that got worse by more than is let pass.
        notes: what could not be compared, and how far the machine itself moved.
    """

    files: int
    worse: tuple[str, ...]
    notes: tuple[str, ...]


def compare(now: Results, before: Results, *, max_drop: float, max_slower: float) -> Verdict:
    """Hold `now` against `before`.

    Args:
        max_drop: accuracy that a file may lose, in percentage points.
        max_slower: ratio of latency, and of instructions, that a file may grow to.

    Raises:
        ResultsError: other data, other test images, or no file in common.
    """
    check_data(before.data.digest, now.data.digest, "the earlier results")
    rows = {row.name: row for row in now.rows}
    pairs = [(old, rows.get(old.name)) for old in before.rows if old.kind == "artifact" and old.failure is None]
    if any(new is not None and not before.judged_alike(old, now, new) for old, new in pairs):
        raise ResultsError("the earlier results: expected the same test images and classes, found others")
    files = sum(new is not None for _, new in pairs)
    if not files:
        raise ResultsError("the earlier results: expected files of the same names, found none")
    clock = _Clock(now, before)
    worse, notes = [], list(clock.notes)
    slowed = [new.name for old, new in pairs if new is not None and (old.all_slowed or new.all_slowed)]
    if slowed:
        notes.insert(0, f"gate: {ALL_SLOWED} of {', '.join(slowed)}: these latencies were not compared")
    for old, new in pairs:
        if new is None:
            worse.append(f"{old.name}: was measured before, is not there now")
        elif new.failure is not None:
            worse.append(f"{old.name}: failed ({new.failure})")
        else:
            found = [_lost(old, new, max_drop), clock.slower(old, new, max_slower), *_longer(old, new, max_slower)]
            worse += [f"{old.name}: {line}" for line in found if line]
    return Verdict(files, tuple(worse), tuple(notes))


def check_data(before: str, now: str, where: str) -> None:
    """Raise ResultsError, naming `where`, unless two digests of data are the same."""
    if before != now:
        raise ResultsError(f"{where}: expected results on data of SHA-256 {now[:12]}, found {before[:12]}")


def _lost(old: Row, new: Row, allowed: float) -> str:
    if old.accuracy is None or new.accuracy is None:
        return ""
    lost = 100 * (old.accuracy.correct / old.accuracy.images - new.accuracy.correct / new.accuracy.images)
    if lost <= allowed + 1e-9:  # counts of images, so that 0.5 allowed lets 0.5 pass
        return ""
    was, now = percent(old.accuracy), percent(new.accuracy)
    return f"accuracy {now} %, was {was} %: lost {lost:.2f} pp, {allowed:g} are let pass"


def _longer(old: Row, new: Row, allowed: float) -> list[str]:
    now = {found.core: found for found in new.instructions}
    lines = []
    for core, count in ((found.core, found.count) for found in old.instructions if found.count):
        found = now.get(core)
        if found is not None and not found.count:
            lines.append(f"instructions on {core} were counted before, not now ({found.failure})")
        elif found is not None and found.count and found.count / count > allowed:
            ratio = found.count / count
            lines.append(f"instructions on {core} {ratio:.2f} times what they were, {allowed:g} are let pass")
    return lines


class _Clock:
    """How the times of two results compare: by themselves, by the float model's, by both, or not at all."""

    def __init__(self, now: Results, before: Results) -> None:
        self._same = _key(now.machine) == _key(before.machine)
        new, old = now.reference, before.reference
        self._drift = new.times(old) if new and old else None
        self.notes = []
        if not self._same and self._drift is None:
            self.notes.append("gate: another machine, and no float model timed in both: latencies were not compared")
        elif not self._same:
            self.notes.append("gate: another machine: latencies are compared by their ratio to the float model's")
        elif self._drift is not None and abs(self._drift - 1) > 0.05:
            self.notes.append(
                f"gate: the float model takes {self._drift:.2f} times what it took; files are held to both"
            )

    def slower(self, old: Row, new: Row, allowed: float) -> str:
        """Return in words that a file got slower than is allowed; nothing if it did not, or nobody can tell."""
        was, now, times = old.valid_headline, new.valid_headline, new.times(old)
        if was is None or now is None or times is None:
            return ""
        ratios = {}
        if self._same:
            ratios["median"] = times
        if self._drift is not None:
            ratios["ratio to the float model"] = times / self._drift
        if not ratios or min(ratios.values()) <= allowed:
            return ""
        noisy = " (its rounds differ by more than 10%)" if now.noisy else ""
        words = ", ".join(f"{name} {ratio:.2f} times what it was" for name, ratio in ratios.items())
        return f"{now.median:.3f} ms, was {was.median:.3f}: {words}, {allowed:g} are let pass{noisy}"


def _key(machine: Machine) -> tuple[object, ...]:
    """Return what makes two machines the same; versions are part of what a gate is to notice."""
    return machine.cpu, machine.architecture, machine.cores, machine.governor, machine.flags
