"""Latency under sustained load and after idling: HTML sections, and lines for the terminal and Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from feredge.benchmark.formatting import signed
from feredge.benchmark.load_metrics import SAME_SPEED, LoadConfig, SustainedLoad, order_changes
from feredge.benchmark.results import Results, Row
from feredge.report.rendering import render

Point = tuple[int, float]
"""Of a curve: a minute, counted from 0, and a median."""
MIN_CURVE_RANGE = 0.05
"""The curves' axis is at least so high, as a fraction of the first median: noise alone looks flat."""


def sustained_load(results: Results) -> str:
    """Return the section on sustained load; empty where it was not measured."""
    loads = _sustained(results)
    config = results.config.load
    if not loads or config is None:
        return ""
    curves = {row.name: _curves(load) for row, load in loads}
    values = [value for pair in curves.values() for curve in pair for _, value in curve]
    low = min(values)
    high = max(*values, low + MIN_CURVE_RANGE)
    minutes = [minute for _, load in loads for minute in load.minutes]
    return render(
        "sustained_load.html",
        lead=_sustained_lead(config, loads[0][1]),
        order=_order(loads),
        order_changed=bool(order_changes({row.name: load for row, load in loads})),
        loads=loads,
        curves=curves,
        minutes=config.minutes,
        low=low,
        high=high,
        has_celsius=any(minute.celsius is not None for minute in minutes),
        has_clock=any(minute.clock_mhz is not None for minute in minutes),
        has_energy=any(minute.millijoules is not None for minute in minutes),
        throttling=throttling,
    )


def idle_latency(results: Results) -> str:
    """Return the section on latency after idling; empty where it was not measured."""
    rows = [(row, row.idle_latency) for row in results.rows if row.idle_latency]
    if not rows:
        return ""
    lead = (
        f"{rows[0][1].calls} calls, each after idling for {rows[0][1].idle_seconds:g} s, and as many after idling that "
        "ended with arithmetic, so that the clock had risen and the core was awake. Low clock: what this saved; cold "
        "caches: the rest of the difference to calls one after another."
    )
    return render("idle_latency.html", lead=lead, rows=rows)


def load_lines(results: Results) -> list[str]:
    """Return a line for each file under sustained load and after idling, and one on their order."""
    loads = _sustained(results)
    lines = [
        f"{row.name}, sustained load: {load.minutes[0].median:.3f} ms in minute 1{_last_minute(load)}"
        f"{_throttled_phrase(load)}."
        for row, load in loads
    ]
    if order := _order(loads):
        lines.append(order)
    return lines + [
        f"{row.name}, after idling for {idle.idle_seconds:g} s: {idle.after_idle:.3f} ms, of which "
        f"{idle.low_clock:.3f} ms low clock and {idle.cold_caches:.3f} ms cold caches; {idle.steady:.3f} ms otherwise."
        for row, idle in ((row, row.idle_latency) for row in results.rows)
        if idle
    ]


def throttling(load: SustainedLoad) -> str:
    """Return the first minute with throttling and its causes; empty if there is none."""
    if load.throttled_from is None:
        return ""
    causes = dict.fromkeys(cause for minute in load.minutes for cause in minute.slowed)
    return f"from minute {load.throttled_from}: {', '.join(causes)}"


def _last_minute(load: SustainedLoad) -> str:
    last = len(load.minutes)
    change = signed(100 * load.change, 0)
    return f", {load.minutes[-1].median:.3f} ms in minute {last} ({change}%)" if last > 1 else ""


def _throttled_phrase(load: SustainedLoad) -> str:
    return f", CPU throttled {throttling(load)}" if load.throttled_from else ""


def _sustained(results: Results) -> list[tuple[Row, SustainedLoad]]:
    return [(row, row.sustained_load) for row in results.rows if row.sustained_load]


def _sustained_lead(config: LoadConfig, load: SustainedLoad) -> str:
    rate = "as many calls as possible" if config.rate is None else f"{config.rate:g} calls a second"
    return (
        f"One file at a time for {config.minutes} min, {rate}, at one thread. The curve is the median of each minute "
        f"over that of the first; dashed is {load.reference}, timed briefly in the same minutes: where both rise, the "
        "machine slowed. Shaded minutes had CPU throttling."
    )


def _order(loads: Sequence[tuple[Row, SustainedLoad]]) -> str:
    """Return a sentence on whether the order of the files changes over the minutes; empty for one file or minute."""
    if len(loads) < 2 or len(loads[0][1].minutes) < 2:
        return ""
    changes = order_changes({row.name: load for row, load in loads})
    if not changes:
        return f"Order of the files: the same in the first and the last minute (within {SAME_SPEED:.0%})."
    pairs = (f"{name} is faster than {other} in the first minute, slower in the last" for name, other in changes)
    return f"The order of the files changes under sustained load: {'; '.join(pairs)}."


def _curves(load: SustainedLoad) -> tuple[list[Point], list[Point]]:
    """Return the medians of the file and of the reference file, each over the first."""
    return _relative([minute.median for minute in load.minutes]), _relative(
        [minute.reference_median for minute in load.minutes]
    )


def _relative(medians: Sequence[float | None]) -> list[Point]:
    valid = [(index, median) for index, median in enumerate(medians) if median]
    return [(index, median / valid[0][1]) for index, median in valid]
