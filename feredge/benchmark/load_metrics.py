"""Metrics of a file under sustained load and after idling, as frozen dataclasses. Times are milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

SAME_SPEED = 0.05
"""Two medians that differ by at most this fraction count as equal when files are ordered."""
MIN_RATE = 1
"""Calls a second; `idle_seconds` is for fewer."""
MAX_RATE = 100_000


@dataclass(frozen=True)
class LoadConfig:
    """What is measured beyond short turns, of each file at one thread.

    Attributes:
        minutes: of sustained load; 0 for none.
        rate: calls a second under sustained load, MIN_RATE to MAX_RATE; None for as many as possible.
        idle_seconds: before each call whose latency after idling is measured; 0 for none.
        minute_seconds: length of a minute.
    """

    minutes: int = 0
    rate: float | None = None
    idle_seconds: float = 0.0
    minute_seconds: float = 60.0


@dataclass(frozen=True)
class Minute:
    """One minute of sustained load.

    Attributes:
        count: number of calls.
        p99: None for fewer than P99_MIN_SAMPLES calls.
        reference_median: of the reference file, timed for a thirtieth of the minute; None where it failed.
        clock_mhz: median of the readings during the minute; None where the system does not report it.
        celsius: of the hottest sensor, the highest reading.
        slowed: causes of throttling.
        millijoules: energy per call, of the whole CPU package or board, its idle share included.
    """

    count: int
    median: float
    p99: float | None
    reference_median: float | None
    clock_mhz: float | None
    celsius: float | None
    slowed: tuple[str, ...]
    millijoules: float | None


@dataclass(frozen=True)
class SustainedLoad:
    """Latency under sustained load, minute by minute.

    Attributes:
        reference: name of the reference file's row.
        start_celsius: temperature before the first call.
    """

    minutes: tuple[Minute, ...]
    reference: str
    start_celsius: float | None

    @property
    def change(self) -> float:
        """The last minute's median over the first one's, minus 1."""
        return self.minutes[-1].median / max(self.minutes[0].median, 1e-6) - 1

    @property
    def throttled_from(self) -> int | None:
        """The first minute with throttling, counted from 1; None if there is none."""
        return next((number for number, minute in enumerate(self.minutes, start=1) if minute.slowed), None)


@dataclass(frozen=True)
class IdleLatency:
    """Latency of single calls after idling.

    Attributes:
        idle_seconds: before each call.
        calls: number of calls of either kind.
        steady: median of calls one after another.
        after_idle, after_idle_p90: of calls after idling.
        after_busy: median of calls after idling whose end was spent on arithmetic that uses little memory: the clock
            has risen and the core is awake, but the caches are as idling left them.
    """

    idle_seconds: float
    calls: int
    steady: float
    after_idle: float
    after_idle_p90: float
    after_busy: float

    @property
    def low_clock(self) -> float:
        """The part of the latency after idling that a low clock and a sleeping core cause."""
        return self.after_idle - self.after_busy

    @property
    def cold_caches(self) -> float:
        """The part that is left on a core at full clock: cold caches."""
        return self.after_busy - self.steady


def order_changes(loads: dict[str, SustainedLoad]) -> list[tuple[str, str]]:
    """Return the pairs of files, the faster in the first minute first, whose order is another in the last minute.

    Medians within SAME_SPEED of each other have no order.
    """

    def faster(name: str, other: str, index: int) -> bool:
        return loads[name].minutes[index].median * (1 + SAME_SPEED) < loads[other].minutes[index].median

    return [(name, other) for name in loads for other in loads if faster(name, other, 0) and faster(other, name, -1)]
