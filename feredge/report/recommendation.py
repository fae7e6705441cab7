"""The file to ship, recommended from results by fixed rules, with the reason of each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from feredge.benchmark.formatting import percent
from feredge.benchmark.metrics import NOISY_SPREAD
from feredge.benchmark.results import ALL_THROTTLED, Results, Row

BUSY_LOAD = 0.7
"""Load average before the first measurement above which other processes probably disturbed the latencies."""


@dataclass(frozen=True)
class Recommendation:
    """The file to ship, the reasons, and alternatives.

    Attributes:
        row: None when no artifact could be measured.
        reasons: the outcome of each rule, a sentence each.
        alternatives: the file to ship if another criterion matters more: (criterion, file).
        warnings: what was assumed or left out, and why the measurements may be unreliable, a sentence each.
    """

    row: Row | None
    reasons: tuple[str, ...]
    alternatives: tuple[tuple[str, Row], ...]
    warnings: tuple[str, ...]


class _NetworkChoice(NamedTuple):
    """The recommended file of one network, the files that passed the accuracy rule, and the reasons."""

    row: Row
    accurate_rows: list[Row]
    reasons: list[str]


def recommend(results: Results) -> Recommendation:
    """Recommend a file among those in their format's default runtime, by these rules.

    Rounds with CPU throttling are excluded; a file with CPU throttling in every round is excluded too.

    0. Of several networks, take those whose best file's accuracy is at least the lower end of the 95% interval of the
       most accurate file's, on the same images; of these, the one whose recommended file is fastest.
    1. Keep the files that are equivalent to the float model within the margin, or more accurate. If there are none,
       those without evidence of a drop. If there are none of these either, the one with the smallest drop. Where there
       is no float model, a float32 file replaces it, and is kept as well.
    2. Of these, keep those within 10% of the fastest at one thread: a smaller difference may be noise.
    3. Recommend the smallest.
    """
    candidates = [row for row in results.rows if row.kind == "artifact" and not row.runtime]
    measured = [row for row in candidates if _is_complete(row)]
    throttled = sum(row.always_throttled for row in candidates)
    failed = len(candidates) - len(measured) - throttled
    if not measured and throttled:
        reason = f"No latency is valid: {ALL_THROTTLED} of {file_count(throttled)}. Measure again with better cooling."
        return Recommendation(None, (reason,), (), _warnings(results, None))
    if not measured:
        return Recommendation(None, ("No file was measured completely.",), (), results.notes)
    reasons = [f"{file_count(len(measured))} measured" + (f", {failed} failed" if failed else "") + "."]
    if throttled:
        reasons.append(f"{file_count(throttled)} left out: {ALL_THROTTLED}.")
    networks: dict[str, list[Row]] = {}
    for row in measured:
        networks.setdefault(row.network, []).append(row)
    choices = {name: _choose_file(rows, results.config.margin) for name, rows in networks.items()}
    comparable = {name: rows for name, rows in networks.items() if on_common_test_set(rows[0])}
    name, network_reasons = _choose_network(comparable or networks, choices)
    choice = choices[name]
    reasons += [*network_reasons, *choice.reasons]
    front = pareto_front(measured)
    other_networks = [
        (f"{other} instead", choices[other].row)
        for other in choices
        if other != name and choices[other].row.name in front
    ]
    alternatives = (*_alternatives(choice, networks[name]), *other_networks)
    return Recommendation(choice.row, tuple(reasons), alternatives, _warnings(results, choice.row))


def on_common_test_set(row: Row) -> bool:
    """Return whether a row is evaluated on the classes and test images of the results' data."""
    return not row.images


def smallest_of_fastest(rows: Sequence[Row], latency_ms: Callable[[Row], float]) -> tuple[Row, list[Row], float]:
    """Return the smallest of the rows within 10% of the lowest latency, those rows, and the lowest latency."""
    fastest_ms = min(map(latency_ms, rows))
    fast_rows = [row for row in rows if latency_ms(row) <= fastest_ms * (1 + NOISY_SPREAD)]
    return min(fast_rows, key=lambda row: (row.bytes, latency_ms(row))), fast_rows, fastest_ms


def pareto_front(rows: Iterable[Row]) -> set[str]:
    """Return the names of the rows on the Pareto front of size, latency and accuracy."""
    points = {
        row.name: (row.bytes, median_ms(row), -_accuracy(row))
        for row in rows
        if _is_complete(row) and on_common_test_set(row) and not row.runtime
    }
    return {
        name
        for name, point in points.items()
        if not any(
            other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other in points.values()
        )
    }


def median_ms(row: Row) -> float:
    """Return a complete row's median latency at one thread, in rounds without throttling."""
    timing = row.valid_main_latency
    assert timing is not None
    return timing.median


def file_count(count: int) -> str:
    """Return `1 file`, `2 files`, ..."""
    return f"{count} file" + "s" * (count != 1)


def _accuracy(row: Row) -> float:
    assert row.accuracy is not None
    return row.accuracy.accuracy


def _is_complete(row: Row) -> bool:
    return row.failure is None and row.accuracy is not None and row.valid_main_latency is not None


def _choose_network(networks: dict[str, list[Row]], choices: dict[str, _NetworkChoice]) -> tuple[str, list[str]]:
    """Apply rule 0. Return the network's name and the reasons."""
    if len(networks) == 1:
        return next(iter(networks)), []
    best = {name: max(rows, key=_accuracy) for name, rows in networks.items()}
    first = max(best, key=lambda name: _accuracy(best[name]))
    top = best[first].accuracy
    assert top is not None
    near = [name for name in best if _accuracy(best[name]) >= top.low]
    reasons = [
        f"{len(networks)} networks on the same images; {first} is the most accurate "
        f"({percent(top)}%, 95% interval {100 * top.low:.1f} to {100 * top.high:.1f})."
    ]
    fastest = min(near, key=lambda name: median_ms(choices[name].row))
    if len(near) > 1:
        reasons.append(f"{', '.join(near)} are within its 95% interval; {fastest} is the fastest of them.")
    return fastest, reasons


def _choose_file(measured: list[Row], margin: float) -> _NetworkChoice:
    """Apply rules 1 to 3 to the files of one network."""
    accurate_rows, reason = _filter_by_accuracy(measured, margin)
    reasons = [reason]
    best, fast_rows, fastest_ms = smallest_of_fastest(accurate_rows, median_ms)
    if len(accurate_rows) > 1:
        reasons.append(
            f"Of these, {file_count(len(fast_rows))} {_is_or_are(fast_rows)} within {NOISY_SPREAD:.0%} "
            f"of the fastest ({fastest_ms:.3f} ms per image)."
        )
    if len(fast_rows) > 1:
        reasons.append(f"The smallest of them is {best.name}.")
    return _NetworkChoice(best, accurate_rows, reasons)


def _filter_by_accuracy(rows: Sequence[Row], margin: float) -> tuple[list[Row], str]:
    """Apply rule 1. Return the remaining rows and the reason."""
    if all(row.drop is None for row in rows):
        best = max(map(_accuracy, rows))
        accurate = [row for row in rows if _accuracy(row) == best]
        count = f"{file_count(len(accurate))} {_is_or_are(accurate)}"
        return accurate, f"No float model was measured, so drops are unknown; {count} kept as the most accurate."
    drops = [(row, row.drop) for row in rows if row.drop is not None]
    # Without a float model a float32 file is the reference, and a candidate as well.
    references = [row for row in rows if row.drop is None and any(other.reference_row == row.name for other in rows)]
    reference = references[0].name if references else "the float model"
    and_itself = f", in addition to {reference} itself" if references else ""
    equivalent = [row for row, drop in drops if drop.verdict == "equivalent within the margin"]
    better = [row for row, drop in drops if drop.verdict == "gain"]
    if equivalent or better:
        counts = []
        if equivalent:
            is_or_are = _is_or_are(equivalent)
            counts.append(f"{file_count(len(equivalent))} {is_or_are} equivalent to {reference} within {margin:g} pp")
        if better:
            counts.append(f"{file_count(len(better))} {_is_or_are(better)} more accurate than {reference}")
        return [*references, *equivalent, *better], f"{', '.join(counts)}{and_itself}."
    inconclusive = [row for row, drop in drops if drop.verdict == "no evidence of a drop"]
    if inconclusive:
        return [*references, *inconclusive], (
            f"No file is shown to be equivalent to {reference} within {margin:g} pp; "
            f"for {file_count(len(inconclusive))} there is no evidence of a drop{and_itself}."
        )
    if references:
        return references, f"Every file lost accuracy against {reference}."
    row, drop = min(drops, key=lambda pair: pair[1].pp)
    return [row], f"Every file lost accuracy; {row.name} lost least ({drop.pp:.2f} pp)."


def _alternatives(choice: _NetworkChoice, measured: Sequence[Row]) -> tuple[tuple[str, Row], ...]:
    best, accurate_rows, _ = choice
    other_formats = {row.format for row in accurate_rows} - {best.format}
    alternatives = [
        (f"{name} instead", min((row for row in accurate_rows if row.format == name), key=median_ms))
        for name in sorted(other_formats)
    ]
    inconclusive = [row for row in measured if row.drop and row.drop.verdict == "no evidence of a drop"]
    if inconclusive and best not in inconclusive:
        row = min(inconclusive, key=median_ms)
        if median_ms(row) * (1 + NOISY_SPREAD) < median_ms(best):
            alternatives.append(("speed, with an inconclusive accuracy drop", row))
    criteria: tuple[tuple[str, Sequence[Row], Callable[[Row], float]], ...] = (
        ("size alone", accurate_rows, lambda row: row.bytes),
        ("speed at any loss of accuracy", measured, median_ms),
        ("accuracy alone", measured, lambda row: -_accuracy(row)),
    )
    for criterion, rows, key in criteria:
        row = min(rows, key=key)
        if row != best and row not in [other for _, other in alternatives]:
            alternatives.append((criterion, row))
    return tuple(alternatives)


def _warnings(results: Results, best: Row | None) -> tuple[str, ...]:
    warnings = list(results.notes)
    if results.config.name == "quick":
        warnings.append(
            f"A quick benchmark: {results.config.seconds:g} s of timed runs per file instead of 10 s"
            + (", one thread only." if results.config.threads == (1,) else ".")
            + " Accuracy is nevertheless over every test image."
        )
    noisy = [row.name for row in results.rows if row.main_latency and row.main_latency.noisy]
    if noisy:
        warnings.append(
            f"Latencies are noisy: in {len(noisy)} row{'s' * (len(noisy) != 1)}, "
            + ("including" if best and best.name in noisy else "not")
            + f" the recommended file's, the medians of the rounds differ by more than {NOISY_SPREAD:.0%}."
        )
    throttled = {row.name: row.throttled_by for row in results.rows if row.throttled_by}
    if throttled:
        causes = ", ".join(sorted({cause for row_causes in throttled.values() for cause in row_causes}))
        warnings.append(
            f"CPU throttling ({causes}) in rounds of {file_count(len(throttled))}, "
            + ("including" if best and best.name in throttled else "not")
            + " the recommended one; these rounds are excluded."
        )
    load = results.machine.load
    if load is not None and load > BUSY_LOAD:
        cores = results.machine.cores
        warnings.append(f"The machine was busy: a load of {load:g} on {cores} cores before the first measurement.")
    if results.data.total < 1000:
        warnings.append(f"Only {results.data.total:,} test images: small drops cannot be detected.")
    return tuple(warnings)


def _is_or_are(rows: Sequence[Row]) -> str:
    return "is" if len(rows) == 1 else "are"
