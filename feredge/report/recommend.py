"""Which file to ship, by rules that are written out. Nothing here is typed in by a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from feredge.benchmark.formatting import percent
from feredge.benchmark.metrics import NOISY_SPREAD
from feredge.benchmark.results import ALL_THROTTLED, Results, Row

Picked = tuple[Row, list[Row], list[str]]
BUSY_FROM = 0.7
"""Load, before anything is measured, from which other work is likely to have disturbed the clock."""


@dataclass(frozen=True)
class Choice:
    """The file to ship, each step of the reasoning in a sentence, and what else could be meant.

    Attributes:
        row: None when no artifact could be measured.
        steps: the rules in their order, with what each left over.
        others: what to ship when something else matters: (what matters, the file).
        cautions: why the figures may not hold.
    """

    row: Row | None
    steps: tuple[str, ...]
    others: tuple[tuple[str, Row], ...]
    cautions: tuple[str, ...]


def choose(results: Results) -> Choice:
    """Choose by these rules, among files in their format's own runtime.

    Rounds in which the clock was held down decide nothing; where all were, so does the file.

    0. Of several networks, take those whose best file is within the 95% interval of the most accurate file, on the
       same images; of these, the one whose choice is fastest.
    1. Keep the files that are equivalent to the float model within the margin. If there are none, those without
       evidence of a drop. If there are none of these either, the one that lost least. Where there is no float model,
       a float32 file stands in for it, and is kept beside them.
    2. Of these, keep what is within 10% of the fastest at one thread: a smaller difference may be noise.
    3. Ship the smallest.
    """
    candidates = [row for row in results.rows if row.kind == "artifact" and not row.runtime]
    measured = [row for row in candidates if _whole(row)]
    slowed = sum(row.always_throttled for row in candidates)
    failed = len(candidates) - len(measured) - slowed
    if not measured and slowed:
        reason = (
            f"No latency is valid: {ALL_THROTTLED} of {counted(slowed)}. Measure again on a machine that stays cool."
        )
        return Choice(None, (reason,), (), _cautions(results, None))
    if not measured:
        return Choice(None, ("No file could be measured whole.",), (), ())
    steps = [f"{counted(len(measured))} measured" + (f", {failed} failed" if failed else "") + "."]
    if slowed:
        steps.append(f"{counted(slowed)} left out: {ALL_THROTTLED}.")
    networks: dict[str, list[Row]] = {}
    for row in measured:
        networks.setdefault(row.network, []).append(row)
    choices = {name: _of_network(rows, results.effort.margin) for name, rows in networks.items()}
    name, words = _network({name: rows for name, rows in networks.items() if comparable(rows[0])} or networks, choices)
    best, kept, own = choices[name]
    steps += [*words, *own]
    front = pareto(measured)
    others = [(f"{other} instead", row) for other, (row, *_) in choices.items() if other != name and row.name in front]
    return Choice(best, tuple(steps), (*_others(best, kept, networks[name]), *others), _cautions(results, best))


def comparable(row: Row) -> bool:
    """Say whether a row is judged on the data's own classes and images."""
    return not row.images


def _network(networks: dict[str, list[Row]], choices: dict[str, Picked]) -> tuple[str, list[str]]:
    """Return the network to choose from, and why."""
    if len(networks) == 1:
        return next(iter(networks)), []
    best = {name: max(rows, key=share) for name, rows in networks.items()}
    first = max(best, key=lambda name: share(best[name]))
    top = best[first].accuracy
    assert top is not None
    near = [name for name in best if share(best[name]) >= top.low]
    words = [
        f"{len(networks)} networks on the same images; {first} is the most accurate "
        f"({percent(top)}%, 95% interval {100 * top.low:.1f} to {100 * top.high:.1f})."
    ]
    chosen = min(near, key=lambda name: median(choices[name][0]))
    if len(near) > 1:
        words.append(f"{', '.join(near)} are within its interval; {chosen} is the fastest of them.")
    return chosen, words


def _of_network(measured: list[Row], margin: float) -> Picked:
    """Return one network's choice, what it was chosen from, and why."""
    kept, step = _keep_accuracy(measured, margin)
    steps = [step]
    best, quick, fastest = smallest_of_fastest(kept, median)
    if len(kept) > 1:
        steps.append(
            f"Of these, {counted(len(quick))} {_is(quick)} within {NOISY_SPREAD:.0%} "
            f"of the fastest ({fastest:.3f} ms a face)."
        )
    if len(quick) > 1:
        steps.append(f"The smallest of them is {best.name}.")
    return best, kept, steps


def smallest_of_fastest(rows: Sequence[Row], time: Callable[[Row], float]) -> tuple[Row, list[Row], float]:
    """Return the smallest of the rows within 10% of the fastest, those rows, and the fastest's time."""
    fastest = min(map(time, rows))
    quick = [row for row in rows if time(row) <= fastest * (1 + NOISY_SPREAD)]
    return min(quick, key=lambda row: (row.bytes, time(row))), quick, fastest


def pareto(rows: Iterable[Row]) -> set[str]:
    """Return the names of rows that no other beats in size, latency or accuracy without losing in another."""
    points = {
        row.name: (row.bytes, median(row), -share(row))
        for row in rows
        if _whole(row) and comparable(row) and not row.runtime
    }
    return {
        name
        for name, point in points.items()
        if not any(
            other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other in points.values()
        )
    }


def median(row: Row) -> float:
    """Return a whole row's median latency at one thread, in valid rounds, in ms."""
    timing = row.valid_headline
    assert timing is not None
    return timing.median


def share(row: Row) -> float:
    """Return a whole row's accuracy."""
    assert row.accuracy is not None
    return row.accuracy.accuracy


def _whole(row: Row) -> bool:
    return row.failure is None and row.accuracy is not None and row.valid_headline is not None


def _keep_accuracy(rows: Sequence[Row], margin: float) -> tuple[list[Row], str]:
    if all(row.drop is None for row in rows):
        best = max(map(share, rows))
        kept = [row for row in rows if share(row) == best]
        return (
            kept,
            f"No float model was measured, so no drop is known; {counted(len(kept))} {_is(kept)} the most accurate.",
        )
    drops = [(row, row.drop) for row in rows if row.drop is not None]
    # Without a float model a float32 file stands in for it, and is a candidate like those that are measured against it.
    stands_in = [row for row in rows if row.drop is None and any(other.beside == row.name for other in rows)]
    whom = stands_in[0].name if stands_in else "the float model"
    itself = f", beside {whom} itself" if stands_in else ""
    kept = [row for row, drop in drops if drop.verdict == "equivalent within the margin"]
    if kept:
        return [
            *stands_in,
            *kept,
        ], f"{counted(len(kept))} {_is(kept)} equivalent to {whom} within {margin:g} pp{itself}."
    kept = [row for row, drop in drops if drop.verdict == "no evidence of a drop"]
    if kept:
        return [*stands_in, *kept], (
            f"None is shown to be equivalent to {whom} within {margin:g} pp; for {counted(len(kept))} there is no "
            f"evidence of a drop{itself}."
        )
    if stands_in:
        return stands_in, f"Every file lost accuracy against {whom}."
    row, drop = min(drops, key=lambda pair: pair[1].pp)
    return [row], f"Every file lost accuracy; {row.name} lost least ({drop.pp:.2f} pp)."


def _others(best: Row, kept: Sequence[Row], measured: Sequence[Row]) -> tuple[tuple[str, Row], ...]:
    other_runtimes = {row.format for row in kept} - {best.format}
    found = [
        (f"{name} instead", min((row for row in kept if row.format == name), key=median))
        for name in sorted(other_runtimes)
    ]
    unsure = [row for row in measured if row.drop and row.drop.verdict == "no evidence of a drop"]
    if unsure and best not in unsure:
        row = min(unsure, key=median)
        if median(row) * (1 + NOISY_SPREAD) < median(best):
            found.append(("speed, where a drop is neither shown nor ruled out", row))
    questions: tuple[tuple[str, Sequence[Row], Callable[[Row], float]], ...] = (
        ("size alone", kept, lambda row: row.bytes),
        ("speed, whatever it loses", measured, median),
        ("accuracy alone", measured, lambda row: -share(row)),
    )
    for question, rows, key in questions:
        row = min(rows, key=key)
        if row != best and row not in [other for _, other in found]:
            found.append((question, row))
    return tuple(found)


def _cautions(results: Results, best: Row | None) -> tuple[str, ...]:
    found = []
    if results.effort.name == "quick":
        found.append(
            f"A quick benchmark: {results.effort.seconds:g} s of timed runs a file instead of 10 s"
            + (", one thread only." if results.effort.threads == (1,) else ".")
            + " Accuracies are over every test image all the same."
        )
    noisy = [row.name for row in results.rows if row.headline and row.headline.noisy]
    if noisy:
        found.append(
            f"The machine was noisy: the rounds of {counted(len(noisy))} differ by more than {NOISY_SPREAD:.0%}"
            + (", those of the chosen one too." if best and best.name in noisy else ", not those of the chosen one.")
        )
    slowed = {row.name: row.throttled_by for row in results.rows if row.throttled_by}
    if slowed:
        reasons = ", ".join(sorted({reason for row in slowed.values() for reason in row}))
        found.append(
            f"The clock was held down ({reasons}) in rounds of {counted(len(slowed))}: these rounds decided nothing"
            + (", some of the chosen one too." if best and best.name in slowed else ", none of the chosen one.")
        )
    load = results.machine.load
    if load is not None and load > BUSY_FROM:
        found.append(f"The machine was busy with something else: a load of {load:g} before the first measurement.")
    if results.data.total < 1000:
        found.append(f"Only {results.data.total:,} test images: small drops cannot be seen.")
    return tuple(found)


def counted(count: int) -> str:
    """Return so many files in words."""
    return f"{count} file" + "s" * (count != 1)


def _is(rows: Sequence[Row]) -> str:
    return "is" if len(rows) == 1 else "are"
