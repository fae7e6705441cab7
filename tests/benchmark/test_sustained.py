"""Sustained load and latency after idling, on real files in real workers, and on a stand-in that throttles."""

from __future__ import annotations

import functools
import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_workshop import Workshop

from feredge import files
from feredge.benchmark import measure_candidates, sustained
from feredge.benchmark.config import BenchmarkConfig
from feredge.benchmark.load_metrics import LoadConfig, Minute, SustainedLoad, order_changes
from feredge.benchmark.results import Results, Row
from feredge.benchmark.throttling import take_snapshot
from feredge.benchmark.workers.server import time_paced_calls


def rows_of(
    workshop: Workshop,
    config: BenchmarkConfig,
    load: LoadConfig,
    *names: str,
    journal: Path | None = None,
    progress: Callable[..., None] = lambda *_: None,
) -> dict[str, Row]:
    """Measure some of the workshop's files, and return their rows by name."""
    candidates = [workshop.candidate("float"), *map(workshop.onnx, names)]
    config = replace(config, load=load)
    test_sets = [workshop.test_set(*candidates)]
    results, _ = measure_candidates(test_sets, config, recipe={}, journal=journal, progress=progress)
    assert Results.from_json(results.to_json()) == results
    return {row.name: row for row in results.rows}


def test_minutes_of_real_files(workshop: Workshop, small_config: BenchmarkConfig) -> None:
    """Guards the main path: every minute has calls, a median and the reference file's; TensorFlow is left out."""
    load = LoadConfig(minutes=2, minute_seconds=0.6)
    rows = rows_of(workshop, small_config, load, "dense.float32.onnx", "rough.int8.onnx")
    assert rows["float"].sustained_load is None
    for name in ("dense.float32.onnx", "rough.int8.onnx"):
        measured = rows[name].sustained_load
        assert measured and measured.reference == "dense.float32.onnx" and len(measured.minutes) == 2
        for minute in measured.minutes:
            assert minute.count > 100 and minute.median > 0 and minute.reference_median
            assert minute.p99 is None or minute.p99 >= minute.median


def test_a_rate(workshop: Workshop, small_config: BenchmarkConfig) -> None:
    """Guards the number of calls at a rate, from which the energy of an app is estimated."""
    load = LoadConfig(minutes=1, rate=20.0, minute_seconds=1.5)
    rows = rows_of(workshop, small_config, load, "dense.float32.onnx")
    measured = rows["dense.float32.onnx"].sustained_load
    assert measured and measured.minutes[0].count == round(1.5 * 29 / 30 * 20)


def test_paced_calls_keep_their_times() -> None:
    """Guards the schedule against drift, and a function slower than its rate against running on for ever."""
    start = time.perf_counter()
    assert len(time_paced_calls(time.sleep, [0.001], seconds=0.2, interval_seconds=0.02)) == 10
    assert time.perf_counter() - start >= 0.2
    assert 1 <= len(time_paced_calls(time.sleep, [0.05], seconds=0.1, interval_seconds=0.001)) <= 3


def test_after_idling(workshop: Workshop, small_config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the three medians, and that the two parts add up to what idling costs."""
    monkeypatch.setattr(sustained, "IDLE_CALLS", 3)
    rows = rows_of(workshop, small_config, LoadConfig(idle_seconds=0.02), "dense.float32.onnx")
    idle = rows["dense.float32.onnx"].idle_latency
    assert idle and idle.calls == 3 and min(idle.steady, idle.after_idle, idle.after_busy) > 0
    assert idle.low_clock + idle.cold_caches == pytest.approx(idle.after_idle - idle.steady)
    assert idle.after_idle_p90 >= idle.after_idle


@pytest.fixture
def hot_device(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A device whose files run at a quarter of their speed while it is hot, and whose sysfs says so."""
    folder, sysfs = tmp_path / "files", tmp_path / "sys"
    shutil.copytree(workshop.folder, folder)
    for name, text in (
        ("class/thermal/thermal_zone0/temp", "51000\n"),
        ("class/thermal/cooling_device0/type", "cpufreq-cpu0\n"),
        ("class/thermal/cooling_device0/cur_state", "0\n"),
        ("devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1500000\n"),
    ):
        (sysfs / name).parent.mkdir(parents=True, exist_ok=True)
        (sysfs / name).write_text(text)
    monkeypatch.setattr(sustained, "LoadStage", functools.partial(sustained.LoadStage, sysfs=sysfs))
    return replace(workshop, folder=folder)


def test_the_minute_of_throttling(hot_device: Workshop, small_config: BenchmarkConfig) -> None:
    """Guards a device that throttles in minute 2: minute, cause, temperature, clock, and the slower latency."""
    sysfs = hot_device.folder.parent / "sys"

    def heat_up(task: str, done: float, total: float, note: str = "") -> None:
        if task == "sustained load" and done == 1:
            (hot_device.folder / "hot").touch()
            (sysfs / "class/thermal/cooling_device0/cur_state").write_text("2\n")
            (sysfs / "class/thermal/thermal_zone0/temp").write_text("82000\n")
            (sysfs / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").write_text("750000\n")

    candidate = hot_device.candidate("slow.float32.npz", "toy_runners:ThrottlesWith")
    config = replace(small_config, load=LoadConfig(minutes=3, minute_seconds=0.9))
    results, _ = measure_candidates([hot_device.test_set(candidate)], config, recipe={}, progress=heat_up)
    measured = results.rows[0].sustained_load
    assert measured and measured.throttled_from == 2
    assert [minute.slowed for minute in measured.minutes[1:]] == [("slowed to cool down",)] * 2
    assert measured.start_celsius == 51 and measured.minutes[-1].celsius == 82
    assert (measured.minutes[0].clock_mhz, measured.minutes[-1].clock_mhz) == (1500, 750)
    assert measured.change > 0.5, "four times the time, less on a busy machine, which slows minute 1"
    assert measured.minutes[-1].reference_median and measured.minutes[0].reference_median
    assert measured.minutes[-1].reference_median > 1.5 * measured.minutes[0].reference_median


def test_the_next_file_starts_cool(hot_device: Workshop, small_config: BenchmarkConfig) -> None:
    """Guards the order of the files: the second one must not begin with the heat of the first."""
    sensor = hot_device.folder.parent / "sys/class/thermal/thermal_zone0/temp"
    tasks: list[str] = []

    def warm(task: str, done: float, total: float, note: str = "") -> None:
        tasks.append(note)
        if task == "sustained load" and done == 0:
            sensor.write_text("70000\n")
        if note.startswith("cooling"):
            threading.Timer(0.05, files.write_text, [sensor, "52000\n"]).start()  # never half written

    load = LoadConfig(minutes=1, minute_seconds=0.6)
    rows = rows_of(hot_device, small_config, load, "dense.float32.onnx", "rough.int8.onnx", progress=warm)
    second = rows["rough.int8.onnx"].sustained_load
    assert second and second.start_celsius == 52
    assert "cooling before rough.int8.onnx, 70 °C" in tasks


def test_an_interrupted_benchmark_continues_with_the_next_file(
    workshop: Workshop, small_config: BenchmarkConfig, tmp_path: Path
) -> None:
    """Guards hours: what was finished is not measured again, for the same file and settings only."""
    journal, load = tmp_path / "load.json", LoadConfig(minutes=1, minute_seconds=0.6)
    names = ("dense.float32.onnx", "rough.int8.onnx")

    def stop(task: str, done: float, total: float, note: str = "") -> None:
        if task == "sustained load" and note == "rough.int8.onnx":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rows_of(workshop, small_config, load, *names, journal=journal, progress=stop)
    [recorded] = json.loads(journal.read_text()).values()
    measured: list[str] = []

    def note_files(task: str, done: float, total: float, note: str = "") -> None:
        measured.extend([note] * (task == "sustained load" and bool(note)))

    rows = rows_of(workshop, small_config, load, *names, journal=journal, progress=note_files)
    assert set(measured) == {"rough.int8.onnx"}
    first = rows["dense.float32.onnx"].sustained_load
    assert first and first.minutes[0].count == recorded[0]["minutes"][0]["count"]
    measured.clear()
    rows_of(workshop, small_config, replace(load, rate=50.0), names[0], journal=journal, progress=note_files)
    assert measured == [names[0]], "another rate"
    journal.write_text('{"a": [{"minutes": 3}]}')
    measured.clear()
    rows_of(workshop, small_config, load, names[0], journal=journal, progress=note_files)
    assert measured == [names[0]], "a damaged journal"


def test_a_file_that_crashes_under_load(workshop: Workshop, small_config: BenchmarkConfig) -> None:
    """Guards the others, and the journal, which must not record a half-measured file."""
    crashing = workshop.candidate("late.float32.npz", "toy_runners:CrashesLater")
    config = replace(small_config, runs=1, rounds=1, batches=(), load=LoadConfig(minutes=1, minute_seconds=0.6))
    candidates = [crashing, workshop.onnx("dense.float32.onnx")]
    results, _ = measure_candidates([workshop.test_set(*candidates)], config, recipe={})
    late, other = results.rows
    assert late.failure and "time_load: the worker ended with code 3" in late.failure and late.sustained_load is None
    assert other.failure is None and other.sustained_load
    assert other.sustained_load.minutes[0].reference_median is None, "the reference file is the one that crashes"


def minutes(*medians: float) -> SustainedLoad:
    """Return a sustained load of these medians in ms."""
    one = Minute(1000, 1.0, 1.5, 1.0, None, None, (), None)
    return SustainedLoad(tuple(replace(one, median=median) for median in medians), "a", None)


def test_the_order_of_the_files() -> None:
    """Guards the sentence on the order: noise changes no order, and a pair is named once."""
    loads = {"a": minutes(1.0, 1.5), "b": minutes(1.2, 1.2), "c": minutes(1.22, 1.19)}
    assert order_changes(loads) == [("a", "b"), ("a", "c")]
    assert order_changes({"b": loads["b"], "c": loads["c"]}) == []
    assert np.isclose(loads["a"].change, 0.5)


def test_a_snapshot_without_sensors_costs_little(tmp_path: Path) -> None:
    """Guards the load itself: the sensors are read in the middle of it."""
    start = time.perf_counter()
    take_snapshot(tmp_path)
    assert time.perf_counter() - start < 0.1
