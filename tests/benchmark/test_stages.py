"""The stages on real files in real worker processes, and every kind of worker failure."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_workshop import Workshop

from feredge.benchmark import config, corruptions, latency, measure_candidates
from feredge.benchmark.candidates import Candidate
from feredge.benchmark.config import TIMEOUT_SECONDS, BenchmarkConfig
from feredge.benchmark.harness import start_measurement
from feredge.benchmark.measurement import Measurement
from feredge.benchmark.results import Results
from feredge.benchmark.stages import affordable_corrupted, run_stages
from feredge.benchmark.summary import reference_measurement
from feredge.benchmark.workers.client import Worker, WorkerFailure
from feredge.benchmark.workers.server import time_calls


def run(
    workshop: Workshop,
    candidates: Sequence[Candidate],
    settings: BenchmarkConfig,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> list[Measurement]:
    """Run all stages on the workshop's test images, and return the measurements."""
    measurements = [start_measurement(candidate, timeout_seconds) for candidate in candidates]
    run_stages([workshop.test_set(*candidates)], [measurements], settings)
    return measurements


def test_rows_of_real_files(workshop: Workshop, small_config: BenchmarkConfig) -> None:
    """Guards the main path: accuracy through the file, verdict, timings complete, raw data that reproduces them."""
    candidates = [workshop.candidate("float"), workshop.onnx("dense.float32.onnx"), workshop.onnx("rough.int8.onnx")]
    unique = np.arange(len(workshop.splits.test)) >= 10
    results, raw_data = measure_candidates(
        [workshop.test_set(*candidates, unique=unique)], small_config, recipe={"name": "toy"}
    )
    reference, same, rough = results.rows
    assert [row.failure for row in results.rows] == [None, None, None]
    assert reference.accuracy and 0.3 < reference.accuracy.accuracy < 0.9
    assert same.drop and same.drop.agreement == 1.0 and same.drop.pp == 0
    assert rough.drop and rough.drop.agreement < 0.9 and sum(map(sum, rough.drop.flips)) > 0
    for row in results.rows:
        latency_1 = row.latency_at(1)
        assert latency_1 and latency_1.inference.count >= small_config.runs
        assert len(latency_1.inference.rounds) == small_config.rounds
        assert (
            latency_1.inference.least
            <= latency_1.inference.median
            <= latency_1.inference.p90
            <= latency_1.inference.most
        )
        assert latency_1.inference.p99 is None, "a 99th percentile of 30 samples"
        assert latency_1.preprocess and latency_1.whole
        assert latency_1.preprocess.median < latency_1.whole.median
        assert latency_1.throughput[0].batch == 4 and latency_1.throughput[0].images_per_second > 0
        assert row.cold_start and row.cold_start.load > 0 and row.memory and row.memory.peak > row.memory.added > 0
        predictions = raw_data[f"{row.name}/probabilities"].argmax(1)
        assert row.accuracy and (predictions == raw_data["labels"]).sum() == row.accuracy.correct
        assert len(raw_data[f"{row.name}/1/0"]) == 1001
    assert reference.drop is None
    assert results.data.repeated == 10
    assert reference.accuracy.unique and reference.accuracy.unique.images == results.data.total - 10
    assert results.data.total == len(workshop.splits.test)
    assert Results.from_json(results.to_json()) == results


def test_stronger_corruptions_cost_more_accuracy(workshop: Workshop, small_config: BenchmarkConfig) -> None:
    """Guards robustness: every kind and strength through every file, beside the float model on the same copies."""
    settings = replace(small_config, corrupted=60)
    candidates = [workshop.candidate("float"), workshop.onnx("dense.float32.onnx")]
    results, _ = measure_candidates([workshop.test_set(*candidates)], settings, recipe={})
    reference, same = results.rows
    assert [(one.kind, one.strength) for one in same.corrupted] == [("clean", 0)] + [
        (kind, strength) for kind in corruptions.CORRUPTION_STRENGTHS for strength in range(1, 6)
    ]
    # The same weights in another runtime: only float32's last digit can change an answer.
    assert all(one.drop is not None and abs(one.drop) < 2 for one in same.corrupted)
    assert all(one.drop is None for one in reference.corrupted)
    by_strength = [np.mean([one.accuracy for one in reference.corrupted if one.strength == s]) for s in (1, 5)]
    assert by_strength[0] > by_strength[1] + 0.05


@pytest.mark.parametrize(
    ("count", "seconds_per_image", "expected"),
    [(1000, 0.001, 1000), (1000, 0.003, 500), (1000, 0.006, 250), (1000, 9.0, 125), (3589, 0.0, 3589), (60, 9.0, 60)],
)
def test_slow_networks_have_fewer_corrupted_images(
    workshop: Workshop, count: int, seconds_per_image: float, expected: int
) -> None:
    """Guards against hours for copies: 35 of each image take a minute a file at most, where 10 s time a row."""
    candidate = workshop.candidate("float")
    measurements = [Measurement(candidate, seconds_per_image=factor * seconds_per_image) for factor in (0.5, 1.5)]
    measurements.append(Measurement(candidate, failure="crashed", seconds_per_image=1e6))
    assert affordable_corrupted(count, measurements, 10.0) == expected


@pytest.mark.parametrize("kind", corruptions.CORRUPTION_STRENGTHS)
def test_corruptions_repeat_and_grow(workshop: Workshop, kind: str) -> None:
    """Guards each kind: the same copy every time, the shape kept, the originals too, and strength 5 further off."""
    images = workshop.splits.test.images[:20]
    before = images.copy()
    weak, strong = (corruptions.corrupt(images, kind, strength, seed=1) for strength in (1, 5))
    assert (images == before).all()
    assert weak.shape == strong.shape == images.shape and weak.dtype == np.uint8
    assert (weak == corruptions.corrupt(images, kind, 1, seed=1)).all()
    distance = [np.abs(copy.astype(int) - images).mean() for copy in (weak, strong)]
    assert 0 < distance[0] < distance[1]


def test_a_failed_worker_does_not_stop_the_others(workshop: Workshop, small_config: BenchmarkConfig) -> None:
    """Guards the benchmark against one bad file: crash, late crash, hang, invalid outputs, refusal."""
    bad = {
        "Crashes": r"predict: the worker was killed by SIGABRT: kernel panic in a fake library",
        "CrashesLater": r"time: the worker ended with code 3",
        "Hangs": r"predict: no answer within 2 s; its process was killed",
        "ReturnsNan": r"expected finite probabilities \(1, 7\), found infinite or not-a-number values",
        "NotThere": r"AttributeError: module 'toy_runners' has no attribute 'NotThere'",
    }
    candidates = [workshop.candidate(name, f"toy_runners:{name}") for name in bad]
    candidates.insert(2, workshop.candidate("float"))
    candidates.append(replace(workshop.onnx("dense.float32.onnx"), classes=("happy", "sad")))
    candidates.append(workshop.onnx("dense.float32.onnx"))
    measurements = run(workshop, candidates, small_config, timeout_seconds=2.0)
    for measurement in measurements:
        if pattern := bad.get(measurement.candidate.name):
            assert measurement.failure is not None
            assert re.fullmatch(pattern, measurement.failure), measurement.failure
    assert measurements[-2].failure == (
        "expected the classes angry, disgust, fear, happy, sad, surprise, neutral, found happy, sad"
    )
    for measurement in (measurements[2], measurements[-1]):
        assert measurement.failure is None
        assert measurement.latency(small_config, 1) is not None


def test_what_was_measured_before_a_failure_is_kept(workshop: Workshop, small_config: BenchmarkConfig) -> None:
    """Guards the one-thread figures of a file that cannot run on two, through a library that prints to our pipe."""
    settings = replace(small_config, threads=(1, 2))
    (measurement,) = run(workshop, [workshop.candidate("float", "toy_runners:OneThread")], settings)
    assert measurement.failure == "RuntimeError: one thread only"
    assert measurement.probabilities is not None
    assert measurement.latency(settings, 1) is not None
    assert measurement.latency(settings, 2) is None


def test_threads_are_set_before_the_libraries_load() -> None:
    """Guards BLAS in a baseline against taking every core in the one-thread figure."""
    with Worker(threads=3) as worker:
        worker.request("memory", timeout_seconds=30)
        environment = Path(f"/proc/{worker.pid}/environ")
        if not environment.exists():
            pytest.skip("this system has no /proc/PID/environ")
        assert b"OMP_NUM_THREADS=3" in environment.read_bytes().split(b"\0")


def test_a_worker_refuses_unknown_requests_and_ends_when_closed() -> None:
    """Guards against calling any attribute by name, and against processes that stay behind."""
    worker = Worker()
    with pytest.raises(WorkerFailure, match="unknown request 'handle'"):
        worker.request("handle", timeout_seconds=30)
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def test_time_calls_measures_the_call() -> None:
    """Guards the clock and the stopping rule: both the seconds and the runs must be reached."""
    items: list[int] = []

    def call(item: int) -> None:
        items.append(item)
        time.sleep(0.002)

    samples = time_calls(call, [1, 2, 3], seconds=0.0, runs=7)
    assert items == [1, 2, 3, 1, 2, 3, 1]
    assert samples.dtype == np.int64 and (samples >= 2_000_000).all()
    start = time.perf_counter()
    assert len(time_calls(lambda item: None, [0], seconds=0.01, runs=1)) > 1
    assert time.perf_counter() - start >= 0.01


def test_rounds_interleave_at_random_and_repeat_by_seed(small_config: BenchmarkConfig) -> None:
    """Guards against measuring one file after the other, where a machine that warms up favours the first."""
    turns = small_config.turn_order(8)
    assert len(turns) == small_config.rounds and all(sorted(turn) == list(range(8)) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1
    assert turns == small_config.turn_order(8) != replace(small_config, seed=2).turn_order(8)
    assert len(BenchmarkConfig.preset("default").turn_order(8)) == 20  # turns of half a second


def test_a_round_is_made_of_turns(
    workshop: Workshop, small_config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards short turns, between which the clock drifts little, and the number of rounds in the results."""
    monkeypatch.setattr(config, "TURN_SECONDS", 0.01)
    settings = replace(small_config, seconds=0.06)
    candidates = [workshop.candidate("float"), workshop.onnx("dense.float32.onnx")]
    for measurement in run(workshop, candidates, settings):
        assert measurement.turns_done == {1: 6}
        measured = measurement.latency(settings, 1)
        assert measured is not None and len(measured.inference.rounds) == len(measured.conditions) == 3
        assert measured.inference.count >= settings.runs
        assert sum(samples.sum() for samples in measurement.samples_ns[1, "inference"]) >= 0.05e9


def test_outliers_are_kept() -> None:
    """Guards outliers, which other harnesses remove, the p99 rule, and the noisy mark at 10% between rounds."""
    rounds = [np.full(400, 1_000_000), np.full(400, 1_050_000)]
    rounds[0][0] = 900_000_000
    timing = latency.summarize_rounds(rounds)
    assert (timing.most, timing.count, timing.noisy) == (900.0, 800, False)
    assert timing.p99 is not None and timing.spread == pytest.approx(0.05)
    assert latency.summarize_rounds([rounds[0] * 2, rounds[1]]).noisy
    assert latency.summarize_rounds([rounds[0][:330], rounds[1][:331]]).p99 is None


def test_presets_follow_the_rules() -> None:
    """Guards the measurement rules: 10 warm-up runs and 0.5 s, 5 rounds, 10 s and 1,024 runs, one thread first."""
    for name in ("default", "strict"):
        preset = BenchmarkConfig.preset(name)
        assert preset.warm_runs >= 10 and preset.warm_seconds >= 0.5 and preset.rounds == 5
        assert preset.runs >= 1024 and preset.seconds >= 10 and preset.threads[0] == 1
    assert BenchmarkConfig.preset("strict").seconds == 600
    assert BenchmarkConfig.preset("quick").name == "quick"


def test_drops_are_measured_against_the_dense_network(workshop: Workshop) -> None:
    """Guards a folder in alphabetical order, where `channels-50` comes before its dense network."""
    names = ("channels-50.float32.onnx", "dense.int8.onnx", "dense.float32.onnx")
    candidates = [
        replace(workshop.onnx(name), variant=name.partition(".")[0], precision=name.split(".")[1]) for name in names
    ]
    probabilities = np.full((len(workshop.splits.test), 7), 1 / 7, np.float32)
    measurements = [Measurement(candidate, probabilities=probabilities) for candidate in candidates]
    reference = reference_measurement(measurements)
    assert reference is not None and reference.candidate.name == "dense.float32.onnx"
    measurements[2].probabilities = None  # it failed: another file in float32
    reference = reference_measurement(measurements)
    assert reference is not None and reference.candidate.variant == "channels-50"
