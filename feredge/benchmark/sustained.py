"""The load stage: files one at a time, under sustained load minute by minute, and after idling.

A finished file is recorded in a journal, so that the same benchmark continues with the next one. A file that was
interrupted starts again: the device has cooled since, so its curve cannot be continued.
"""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from feredge import dataclass_io, files
from feredge.benchmark.load_metrics import IdleLatency, LoadConfig, Minute, SustainedLoad
from feredge.benchmark.measurement import Measurement
from feredge.benchmark.metrics import P99_MIN_SAMPLES
from feredge.benchmark.sensors import board_watts, clock_mhz, joules_between, rapl_counters
from feredge.benchmark.throttling import SystemSnapshot, compare_snapshots, take_snapshot
from feredge.benchmark.workers.client import WorkerFailure
from feredge.benchmark.workers.pool import WorkerPool
from feredge.errors import RecipeError
from feredge.inference.system_info import SYS_PATH, read_text
from feredge.progress import Progress, quiet

CHUNK_SECONDS = 5.0
"""Longest time between two readings of the sensors."""
REFERENCE_SHARE = 1 / 30
"""Of each minute, in which the reference file is timed: 2 s."""
IDLE_CALLS = 30
"""Calls after idling, of either kind."""
BUSY_SECONDS = 0.1
"""Arithmetic at the end of idling: governors raise the clock within some tens of milliseconds."""
COOL_KELVIN = 3.0
"""A device has cooled when its temperature is at most so much above that before the first file."""
MAX_COOLING_MINUTES = 5


class LoadStage:
    """Measures files under sustained load and after idling.

    Args:
        config: what is measured.
        pool: of the workers, at one thread.
        sysfs: where the sensors are.
    """

    def __init__(
        self, config: LoadConfig, pool: WorkerPool, *, progress: Progress = quiet, sysfs: Path = SYS_PATH
    ) -> None:
        self._config = config
        self._pool = pool
        self._progress = progress
        self._sysfs = sysfs
        self._cool_celsius = take_snapshot(sysfs).reading.celsius

    def sustained(self, measurement: Measurement, reference: Measurement, done: float, total: float) -> SustainedLoad:
        """Measure a file for all minutes, each beside a short time of the reference file.

        Args:
            done, total: minutes of all files, for the progress.
        """
        name = measurement.candidate.name
        self._cool_down(name, done, total)
        start_celsius = take_snapshot(self._sysfs).reading.celsius
        minutes = []
        for number in range(self._config.minutes):
            self._progress("sustained load", done + number, total, name)
            minutes.append(self._minute(measurement, reference))
        return SustainedLoad(tuple(minutes), reference.candidate.name, start_celsius)

    def _cool_down(self, name: str, done: float, total: float) -> None:
        """Wait until the device is about as cool as before the first file, where it has a sensor."""
        deadline = time.monotonic() + MAX_COOLING_MINUTES * self._config.minute_seconds
        while time.monotonic() < deadline:
            celsius = take_snapshot(self._sysfs).reading.celsius
            if celsius is None or self._cool_celsius is None or celsius <= self._cool_celsius + COOL_KELVIN:
                return
            self._progress("sustained load", done, total, f"cooling before {name}, {celsius:.0f} °C")
            time.sleep(self._config.minute_seconds / 30)

    def _minute(self, measurement: Measurement, reference: Measurement) -> Minute:
        reference_seconds = REFERENCE_SHARE * self._config.minute_seconds
        reference_median = self._reference_median(reference, reference_seconds)
        self._pool.acquire(measurement)
        sensors = _MinuteSensors(self._sysfs)
        seconds = self._config.minute_seconds - reference_seconds
        chunk_seconds = self._chunk_seconds(seconds)
        samples = [
            measurement.time_load(
                chunk_seconds, rate=self._config.rate, meanwhile=lambda: sensors.read_after(chunk_seconds / 2)
            )
            for _ in range(max(1, round(seconds / chunk_seconds)))
        ]
        samples_ms = np.concatenate(samples) / 1e6
        count = len(samples_ms)
        return Minute(
            count=count,
            median=float(np.median(samples_ms)),
            p99=float(np.quantile(samples_ms, 0.99)) if count >= P99_MIN_SAMPLES else None,
            reference_median=reference_median,
            **sensors.summary(count),
        )

    def _chunk_seconds(self, seconds: float) -> float:
        """Return the length of an equal part of some seconds; at a rate, of a whole number of calls."""
        rate = self._config.rate
        if rate is None:
            return seconds / max(1, round(seconds / CHUNK_SECONDS))
        return max(1, round(min(seconds, CHUNK_SECONDS) * rate)) / rate

    def _reference_median(self, reference: Measurement, seconds: float) -> float | None:
        try:
            self._pool.acquire(reference)
            return float(np.median(reference.time_load(seconds))) / 1e6
        except WorkerFailure:
            self._pool.discard(reference)
            return None

    def idle_latency(self, measurement: Measurement, done: float, total: float) -> IdleLatency:
        """Measure a file's latency after idling, in turns with and without arithmetic at the end of the idling."""
        idle_seconds = self._config.idle_seconds
        self._pool.acquire(measurement)
        steady = measurement.time_load(1.0)
        busy_seconds = min(BUSY_SECONDS, idle_seconds / 2)
        after_idle, after_busy = [], []
        for index in range(IDLE_CALLS):
            self._progress("after idling", done + index / IDLE_CALLS, total, measurement.candidate.name)
            after_idle.append(measurement.time_after_idle(idle_seconds, 0.0))
            after_busy.append(measurement.time_after_idle(idle_seconds, busy_seconds))
        return IdleLatency(
            idle_seconds=idle_seconds,
            calls=IDLE_CALLS,
            steady=float(np.median(steady)) / 1e6,
            after_idle=float(np.median(after_idle)) / 1e6,
            after_idle_p90=float(np.quantile(after_idle, 0.9)) / 1e6,
            after_busy=float(np.median(after_busy)) / 1e6,
        )


class _MinuteSensors:
    """The sensors over a minute: counters at its ends, everything else in the middle of each chunk."""

    def __init__(self, sysfs: Path) -> None:
        self._sysfs = sysfs
        self._start = time.monotonic()
        self._energy = rapl_counters(sysfs)
        self._snapshots: list[SystemSnapshot] = [take_snapshot(sysfs)]
        self._clocks: list[float] = []
        self._watts: list[float] = []

    def read_after(self, seconds: float) -> None:
        """Read the sensors after some seconds, in which the worker runs."""
        time.sleep(seconds)
        self._snapshots.append(take_snapshot(self._sysfs))
        self._clocks += [mhz for mhz in [clock_mhz(self._sysfs)] if mhz is not None]
        self._watts += [watts for watts in [board_watts()] if watts is not None]

    def summary(self, calls: int) -> dict[str, Any]:
        """Return the sensors' fields of a Minute that ends now."""
        joules = joules_between(self._energy, rapl_counters(self._sysfs))
        if joules is None and self._watts:
            joules = statistics.mean(self._watts) * (time.monotonic() - self._start)
        self._snapshots.append(take_snapshot(self._sysfs))
        temperatures = [one.reading.celsius for one in self._snapshots if one.reading.celsius is not None]
        pairs = zip(self._snapshots, self._snapshots[1:], strict=False)
        slowed = {cause for before, after in pairs for cause in compare_snapshots(before, after).slowed}
        return {
            "clock_mhz": statistics.median(self._clocks) if self._clocks else None,
            "celsius": max(temperatures, default=None),
            "slowed": tuple(sorted(slowed)),
            "millijoules": None if joules is None else 1e3 * joules / calls,
        }


def measure_load(
    measurements: Sequence[Measurement],
    config: LoadConfig,
    prepare: Callable[[Measurement], None],
    *,
    journal: Path | None = None,
    progress: Progress = quiet,
) -> None:
    """Fill in `sustained_load` and `idle_latency` of all measurements of files that have not failed.

    Args:
        prepare: called with a measurement whose worker has just loaded its file.
        journal: file in which finished files are recorded, and from which they are read instead of measured again.
    """
    loads = [one for one in measurements if one.failure is None and one.candidate.kind == "artifact"]
    if not loads:
        return
    reference = next((one for one in loads if one.candidate.precision == "float32"), loads[0])
    records = _read_journal(journal)
    with WorkerPool(1, prepare) as pool:
        stage = LoadStage(config, pool, progress=progress)
        for index, measurement in enumerate(loads):
            key = _journal_key(measurement, config)
            if key in records:
                measurement.sustained_load, measurement.idle_latency = records[key]
                continue
            with measurement.recording_failure():
                if config.minutes:
                    minutes = index * config.minutes, len(loads) * config.minutes
                    measurement.sustained_load = stage.sustained(measurement, reference, *minutes)
                if config.idle_seconds:
                    measurement.idle_latency = stage.idle_latency(measurement, index, len(loads))
            if measurement.failure is not None:
                pool.discard(measurement)
            elif journal is not None:
                records[key] = measurement.sustained_load, measurement.idle_latency
                _write_journal(journal, records)
    for task, steps in (("sustained load", config.minutes), ("after idling", int(config.idle_seconds > 0))):
        if steps:
            progress(task, steps * len(loads), steps * len(loads))


Record = tuple[SustainedLoad | None, IdleLatency | None]


def _journal_key(measurement: Measurement, config: LoadConfig) -> str:
    """Return a digest of everything that a record depends on: file, runtime, settings and machine."""
    candidate = measurement.candidate
    parts = [measurement.sha256, candidate.name, candidate.opener, candidate.options, asdict(config), platform.node()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _write_journal(path: Path, records: dict[str, Record]) -> None:
    values = {key: [asdict(one) if one else None for one in record] for key, record in records.items()}
    files.write_text(path, json.dumps(values) + "\n")


def _read_journal(path: Path | None) -> dict[str, Record]:
    """Return the records of an earlier benchmark; none from a file that holds something else."""
    try:
        values = json.loads(read_text(path)) if path is not None else {}
        return {key: (_read(SustainedLoad, record[0]), _read(IdleLatency, record[1])) for key, record in values.items()}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecipeError):
        return {}


def _read(kind: type, value: Any) -> Any:
    return None if value is None else dataclass_io.read(kind, value, "journal")
