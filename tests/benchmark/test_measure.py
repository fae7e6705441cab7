"""Measuring real files in real worker processes, and every way a worker can fail."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_workshop import Workshop

from feredge.benchmark import Group, compare, corruptions, latency
from feredge.benchmark.measure import affordable, measure
from feredge.benchmark.results import Effort, Results
from feredge.benchmark.summary import Judged
from feredge.benchmark.trial import Trial
from feredge.benchmark.workers.client import Worker, WorkerFailure
from feredge.benchmark.workers.server import timed


def test_rows_of_real_files(workshop: Workshop, small: Effort) -> None:
    """Guards the main path: accuracy through the file, drop in words, timings complete, evidence that repeats them."""
    subjects = [workshop.subject("float"), workshop.onnx("dense.float32.onnx"), workshop.onnx("rough.int8.onnx")]
    unique = np.arange(len(workshop.splits.test)) >= 10
    results, evidence = compare([Group(tuple(subjects), workshop.splits, unique)], small, recipe={"name": "toy"})
    reference, same, rough = results.rows
    assert [row.failure for row in results.rows] == [None, None, None]
    assert reference.accuracy and 0.3 < reference.accuracy.accuracy < 0.9
    assert same.drop and same.drop.agreement == 1.0 and same.drop.pp == 0
    assert rough.drop and rough.drop.agreement < 0.9 and sum(map(sum, rough.drop.flips)) > 0
    for row in results.rows:
        timed = row.at(1)
        assert timed and timed.inference.count >= small.runs and len(timed.inference.rounds) == small.rounds
        assert timed.inference.least <= timed.inference.median <= timed.inference.p90 <= timed.inference.most
        assert timed.inference.p99 is None, "a 99th percentile of 30 samples"
        assert timed.preprocess.median < timed.whole.median
        assert timed.throughput[0].batch == 4 and timed.throughput[0].images_per_second > 0
        assert row.cold and row.cold.load > 0 and row.memory and row.memory.peak > row.memory.added > 0
        guess = evidence[f"{row.name}/probabilities"].argmax(1)
        assert row.accuracy and (guess == evidence["labels"]).sum() == row.accuracy.correct
        assert len(evidence[f"{row.name}/1/0"]) == 1001
    assert reference.drop is None
    assert results.data.repeated == 10
    assert reference.accuracy.unique and reference.accuracy.unique.images == results.data.total - 10
    assert results.data.total == len(workshop.splits.test)
    assert Results.from_json(results.to_json()) == results


def test_corrupted_copies_cost_more_the_stronger(workshop: Workshop, small: Effort) -> None:
    """Guards robustness: every kind and strength through every file, beside the float model on the same copies."""
    effort = replace(small, corrupted=60)
    subjects = [workshop.subject("float"), workshop.onnx("dense.float32.onnx")]
    unique = np.ones(len(workshop.splits.test), np.bool_)
    results, _ = compare([Group(tuple(subjects), workshop.splits, unique)], effort, recipe={})
    reference, same = results.rows
    assert [(found.kind, found.strength) for found in same.corrupted] == [("clean", 0)] + [
        (kind, strength) for kind in corruptions.STRENGTHS for strength in range(1, 6)
    ]
    # The same weights in another runtime: only float32's last digit can change an answer.
    assert all(found.drop is not None and abs(found.drop) < 2 for found in same.corrupted)
    assert all(found.drop is None for found in reference.corrupted)
    by_strength = [np.mean([found.accuracy for found in reference.corrupted if found.strength == s]) for s in (1, 5)]
    assert by_strength[0] > by_strength[1] + 0.05


@pytest.mark.parametrize(
    ("count", "each", "expected"),
    [(1000, 0.001, 1000), (1000, 0.003, 500), (1000, 0.006, 250), (1000, 9.0, 125), (3589, 0.0, 3589), (60, 9.0, 60)],
)
def test_copies_of_fewer_images_for_slow_networks(workshop: Workshop, count: int, each: float, expected: int) -> None:
    """Guards against hours for copies: 35 of an image take at most a minute a file, where 10 seconds time a row."""
    trials = [Trial(workshop.subject("float"), each=share * each) for share in (0.5, 1.5)]
    trials.append(Trial(workshop.subject("float"), failure="crashed", each=1e6))
    assert affordable(count, trials, 10.0) == expected


@pytest.mark.parametrize("kind", corruptions.STRENGTHS)
def test_corruptions_repeat_and_grow(workshop: Workshop, kind: str) -> None:
    """Guards each kind: the same copy every time, the shape kept, the originals too, and strength 5 further off."""
    images = workshop.splits.test.batch[:20]
    before = images.copy()
    weak, strong = (corruptions.corrupt(images, kind, strength, seed=1) for strength in (1, 5))
    assert (images == before).all()
    assert weak.shape == strong.shape == images.shape and weak.dtype == np.uint8
    assert (weak == corruptions.corrupt(images, kind, 1, seed=1)).all()
    distance = [np.abs(copy.astype(int) - images).mean() for copy in (weak, strong)]
    assert 0 < distance[0] < distance[1]


def test_a_failed_worker_is_a_row_and_the_others_go_on(workshop: Workshop, small: Effort) -> None:
    """Guards against one bad file taking the whole benchmark with it: crash, late crash, hang, nonsense, refusal."""
    bad = {
        "Crashes": r"predict: the worker was ended by SIGABRT: kernel panic in a pretended library",
        "CrashesLater": r"time: the worker ended with code 3",
        "Hangs": r"predict: no answer within 2 s; its process was ended",
        "GivesNan": r"expected finite probabilities \(1, 7\), found infinite or not-a-number values",
        "NotThere": r"AttributeError: module 'toy_runners' has no attribute 'NotThere'",
    }
    subjects = [workshop.subject(name, f"toy_runners:{name}") for name in bad]
    subjects.insert(2, workshop.subject("float"))
    subjects.append(replace(workshop.onnx("dense.float32.onnx"), classes=("happy", "sad")))
    subjects.append(workshop.onnx("dense.float32.onnx"))
    trials = measure(subjects, workshop.splits.test.batch, workshop.splits.test.classes, small, patience=2.0)
    for trial in trials:
        if trial.subject.name in bad:
            assert trial.failure is not None
            assert re.fullmatch(bad[trial.subject.name], trial.failure), trial.failure
    assert trials[-2].failure == (
        "expected the classes angry, disgust, fear, happy, sad, surprise, neutral, found happy, sad"
    )
    for trial in (trials[2], trials[-1]):
        assert trial.failure is None
        assert trial.latency(small, 1) is not None


def test_what_was_measured_before_a_failure_is_kept(workshop: Workshop, small: Effort) -> None:
    """Guards the one-thread figures of a file that cannot run on two, through a library that prints to our pipe."""
    effort = replace(small, threads=(1, 2))
    (trial,) = measure(
        [workshop.subject("float", "toy_runners:OneThread")],
        workshop.splits.test.batch,
        workshop.splits.test.classes,
        effort,
    )
    assert trial.failure == "RuntimeError: one thread only"
    assert trial.probabilities is not None
    assert trial.latency(effort, 1) is not None
    assert trial.latency(effort, 2) is None


def test_threads_are_set_before_the_libraries_load() -> None:
    """Guards BLAS in a baseline against taking every core in the one-thread figure."""
    with Worker(threads=3) as worker:
        worker.ask("memory", timeout=30)
        environment = Path(f"/proc/{worker.pid}/environ")
        if not environment.exists():
            pytest.skip("this system shows no process's environment")
        assert b"OMP_NUM_THREADS=3" in environment.read_bytes().split(b"\0")


def test_a_worker_refuses_what_it_does_not_know_and_ends_with_its_harness() -> None:
    """Guards against calling any attribute by name, and against processes that stay behind."""
    worker = Worker()
    with pytest.raises(WorkerFailure, match="unknown request 'answer'"):
        worker.ask("answer", timeout=30)
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def test_timed_measures_the_call() -> None:
    """Guards the clock and the stopping rule: both the seconds and the runs must be reached."""
    seen: list[int] = []
    samples = timed(lambda item: (seen.append(item), time.sleep(0.002)), [1, 2, 3], seconds=0.0, runs=7)
    assert seen == [1, 2, 3, 1, 2, 3, 1]
    assert samples.dtype == np.int64 and (samples >= 2_000_000).all()
    begin = time.perf_counter()
    assert len(timed(lambda item: None, [0], seconds=0.01, runs=1)) > 1
    assert time.perf_counter() - begin >= 0.01


def test_rounds_interleave_at_random_and_repeat_by_seed(small: Effort) -> None:
    """Guards against measuring one file after the other, where a machine that warms up favours the first."""
    turns = latency.order(8, small)
    assert len(turns) == small.rounds and all(sorted(turn) == list(range(8)) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1
    assert turns == latency.order(8, small) != latency.order(8, replace(small, seed=2))
    assert len(latency.order(8, latency.effort("default"))) == 20  # turns of half a second


def test_a_round_is_made_of_turns(workshop: Workshop, small: Effort, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards short turns, between which the clock has little time to wander, and what a round is to the reader."""
    monkeypatch.setattr(latency, "TURN", 0.01)
    effort = replace(small, seconds=0.06)
    trials = measure(
        [workshop.subject("float"), workshop.onnx("dense.float32.onnx")],
        workshop.splits.test.batch,
        workshop.splits.test.classes,
        effort,
    )
    for trial in trials:
        assert trial.taken == {1: 6}
        found = trial.latency(effort, 1)
        assert found is not None and len(found.inference.rounds) == len(found.conditions) == 3
        assert found.inference.count >= effort.runs
        assert sum(samples.sum() for samples in trial.samples[1, "inference"]) >= 0.05e9


def test_summary_removes_nothing() -> None:
    """Guards the outlier that other harnesses cut, the p99 rule, and the noisy mark at 10% between rounds."""
    rounds = [np.full(400, 1_000_000), np.full(400, 1_050_000)]
    rounds[0][0] = 900_000_000
    timing = latency.summarize(rounds)
    assert (timing.most, timing.count, timing.noisy) == (900.0, 800, False)
    assert timing.p99 is not None and timing.spread == pytest.approx(0.05)
    assert latency.summarize([rounds[0] * 2, rounds[1]]).noisy
    assert latency.summarize([rounds[0][:330], rounds[1][:331]]).p99 is None


def test_efforts_keep_the_rules() -> None:
    """Guards the promise: 10 warm-up runs and 0.5 s, 5 rounds, 10 s and 1,024 runs, one thread first."""
    for name in ("default", "strict"):
        effort = latency.effort(name)
        assert effort.warm_runs >= 10 and effort.warm_seconds >= 0.5 and effort.rounds == 5
        assert effort.runs >= 1024 and effort.seconds >= 10 and effort.threads[0] == 1
    assert latency.effort("strict").seconds == 600
    assert latency.effort("quick").name == "quick"


def test_drops_are_measured_against_the_dense_network(workshop: Workshop) -> None:
    """Guards a folder in alphabetical order, where `channels-50` comes before what it was made from."""
    names = ("channels-50.float32.onnx", "dense.int8.onnx", "dense.float32.onnx")
    subjects = [
        replace(workshop.onnx(name), variant=name.partition(".")[0], precision=name.split(".")[1]) for name in names
    ]
    some = np.full((len(workshop.splits.test), 7), 1 / 7, np.float32)
    trials = [Trial(subject, probabilities=some) for subject in subjects]
    group = Group(tuple(subjects), workshop.splits, np.ones(len(some), bool))
    reference = Judged(group, trials, [("", 0)] * 3).reference
    assert reference is not None and reference.subject.name == "dense.float32.onnx"
    trials[2].probabilities = None  # it failed: what is left in float32
    reference = Judged(group, trials, [("", 0)] * 3).reference
    assert reference is not None and reference.subject.variant == "channels-50"
