"""The stages of a benchmark: cold start and memory, accuracy, corrupted images, latency, and optionally load.

Cold starts, latency and load run alone, with one process awake at a time, latency in interleaved rounds. Predictions
whose time does not count run in as many processes as there are cores.
A candidate that fails in one stage is left out of the next, and the others go on.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from feredge.benchmark import corruptions
from feredge.benchmark.candidates import TestSet
from feredge.benchmark.config import BenchmarkConfig
from feredge.benchmark.measurement import Corruption, Measurement
from feredge.benchmark.sustained import measure_load
from feredge.benchmark.workers.client import Worker, WorkerFailure
from feredge.benchmark.workers.pool import WorkerPool, memory_budget
from feredge.inference.contract import Images
from feredge.progress import Progress, quiet

CROP_PIXELS = 96
"""Height and width of the colour crop that preprocessing is timed on: a typical face in a video frame."""
TIMING_IMAGES = 64
"""Different images that timed runs cycle through: a random forest's time depends on its input."""
MIN_CORRUPTED_IMAGES = 125
"""Images that are evaluated with corruptions, however slow the files are."""
MAX_CORRUPTED_TIME_RATIO = 6
"""Upper bound of a file's mean time on corrupted images, as a multiple of the seconds that a row is timed for."""


def run_stages(
    test_sets: Sequence[TestSet],
    measurements: Sequence[Sequence[Measurement]],
    config: BenchmarkConfig,
    *,
    journal: Path | None = None,
    progress: Progress = quiet,
) -> BenchmarkConfig:
    """Fill in the measurements of each test set's candidates, all test sets together, their rounds interleaved.

    Return the settings that were used: slow files are evaluated on fewer corrupted images. Files that have finished the
    load stage are recorded in `journal`.
    """
    all_measurements = [one for of_test_set in measurements for one in of_test_set]
    inputs_of, distinct_inputs = _assign_inputs(test_sets, measurements)
    for test_set, of_test_set in zip(test_sets, measurements, strict=True):
        for measurement in of_test_set:
            _check_classes(measurement, test_set.splits.test.classes)

    def cold_start(measurement: Measurement) -> None:
        measurement.measure_cold_start(inputs_of[measurement.candidate.name].images, config.cold_starts)

    def predict(measurement: Measurement) -> None:
        with Worker(threads=1) as worker:
            measurement.load(worker, 1)
            measurement.predict_test_images(inputs_of[measurement.candidate.name].images)
            if measurement.candidate.kind != "baseline":  # its time does not go into multiply-adds
                measurement.count_macs()

    def predict_corrupted(measurement: Measurement) -> None:
        with Worker(threads=1) as worker:
            measurement.load(worker, 1)
            measurement.predict_corrupted(inputs_of[measurement.candidate.name].copies)

    _run_sequentially(all_measurements, "cold start", progress, cold_start)
    _run_concurrently(all_measurements, "accuracy", progress, predict)
    if config.corrupted:
        largest = max(len(inputs.images) for inputs in distinct_inputs)
        count = affordable_corrupted(min(config.corrupted, largest), all_measurements, config.seconds)
        config = replace(config, corrupted=count)
        for inputs in distinct_inputs:
            inputs.make_copies(config)
        _run_concurrently(all_measurements, "corrupted images", progress, predict_corrupted)
    for threads in config.threads:
        _time_at(threads, all_measurements, inputs_of, config, progress)
    if config.load is not None:
        prepare = partial(_set_inputs, inputs_of)
        measure_load(all_measurements, config.load, prepare, journal=journal, progress=progress)
    return config


class _TestInputs:
    """A test set's images, their corrupted copies, and the images and colour crops that calls are timed on."""

    def __init__(self, images: Images) -> None:
        indices = np.linspace(0, len(images) - 1, min(len(images), TIMING_IMAGES)).astype(int)
        self.images = images
        self.copies: dict[Corruption, Images] = {}
        self.timing_images = images[indices]
        self.crops = np.stack([color_crop(image) for image in self.timing_images])

    def make_copies(self, config: BenchmarkConfig) -> None:
        """Make the corrupted copies."""
        images = self.images[corruptions.sample_indices(len(self.images), config.corrupted, config.seed)]
        self.copies = {
            (kind, strength): corruptions.corrupt(images, kind, strength, seed=config.seed)
            for kind, values in corruptions.CORRUPTION_STRENGTHS.items()
            for strength in range(1, len(values) + 1)
        }


def _assign_inputs(
    test_sets: Sequence[TestSet], measurements: Sequence[Sequence[Measurement]]
) -> tuple[dict[str, _TestInputs], list[_TestInputs]]:
    """Return the inputs by candidate name, and the distinct ones: test sets of the same images share their copies."""
    inputs_of: dict[str, _TestInputs] = {}
    by_digest: dict[str, _TestInputs] = {}
    for test_set, of_test_set in zip(test_sets, measurements, strict=True):
        images = test_set.splits.test.images
        digest = hashlib.sha256(images.tobytes()).hexdigest()
        if digest not in by_digest:
            by_digest[digest] = _TestInputs(images)
        inputs_of |= {measurement.candidate.name: by_digest[digest] for measurement in of_test_set}
    return inputs_of, list(by_digest.values())


def _check_classes(measurement: Measurement, classes: tuple[str, ...]) -> None:
    """Record a failure for a candidate whose classes are not those of its test set."""
    actual = measurement.candidate.classes
    if measurement.failure is None and actual != classes:
        measurement.failure = f"expected the classes {', '.join(classes)}, found {', '.join(actual)}"


def color_crop(image: Images) -> Images:
    """Make a colour crop of CROP_PIXELS from an image `(H, W, C)`, as an input to preprocessing."""
    rows, columns = (np.arange(CROP_PIXELS) * side // CROP_PIXELS for side in image.shape[:2])
    return np.ascontiguousarray(np.broadcast_to(image[rows][:, columns], (CROP_PIXELS, CROP_PIXELS, 3)))


def affordable_corrupted(count: int, measurements: Sequence[Measurement], row_seconds: float) -> int:
    """Return how many images, at most `count`, are evaluated with corruptions: all would take slow networks hours.

    All candidates get the same copies, so their mean time decides. The count is halved until it fits: one that
    followed the time closely would differ from run to run.

    Args:
        row_seconds: that a row is timed for.
    """
    copies = sum(map(len, corruptions.CORRUPTION_STRENGTHS.values()))
    seconds_per_image = float(np.mean([one.seconds_per_image for one in _without_failure(measurements)] or [0.0]))
    max_seconds = MAX_CORRUPTED_TIME_RATIO * row_seconds
    while count // 2 >= MIN_CORRUPTED_IMAGES and count * copies * seconds_per_image > max_seconds:
        count //= 2
    return count


def _time_at(
    threads: int,
    measurements: Sequence[Measurement],
    inputs_of: dict[str, _TestInputs],
    config: BenchmarkConfig,
    progress: Progress,
) -> None:
    """Time all turns of the measurements at a thread count."""

    def time_turn(measurement: Measurement) -> None:
        try:
            pool.acquire(measurement)
            measurement.time_turn(config, threads)
            pool.enforce_budget(measurement)
        except WorkerFailure:
            pool.discard(measurement)
            raise

    valid = _without_failure(measurements)
    turns = [valid[index] for order in config.turn_order(len(valid)) for index in order]
    with WorkerPool(threads, partial(_set_inputs, inputs_of)) as pool:
        _run_sequentially(turns, f"latency, {threads} thread" + "s" * (threads > 1), progress, time_turn)


def _set_inputs(inputs_of: dict[str, _TestInputs], measurement: Measurement) -> None:
    """Send a measurement's worker the inputs that its calls are timed on."""
    inputs = inputs_of[measurement.candidate.name]
    measurement.set_inputs(inputs.timing_images, inputs.crops)


def _without_failure(measurements: Sequence[Measurement]) -> list[Measurement]:
    return [measurement for measurement in measurements if measurement.failure is None]


def _run(measurement: Measurement, stage: Callable[[Measurement], object]) -> None:
    if measurement.failure is None:
        with measurement.recording_failure():
            stage(measurement)


def _run_sequentially(
    measurements: Sequence[Measurement], task: str, progress: Progress, stage: Callable[[Measurement], object]
) -> None:
    """Run a stage for one measurement after the other, so that nothing else runs while calls are timed."""
    for index, measurement in enumerate(measurements):
        progress(task, index, len(measurements), measurement.candidate.name)
        _run(measurement, stage)
    progress(task, len(measurements), len(measurements))


def _run_concurrently(
    measurements: Sequence[Measurement], task: str, progress: Progress, stage: Callable[[Measurement], object]
) -> None:
    """Run a stage that is not timed for as many measurements at once as cores and memory allow."""
    progress(task, 0, len(measurements))
    largest_bytes = max((one.memory.peak for one in measurements if one.memory), default=1)
    workers = max(1, min(os.cpu_count() or 1, memory_budget() // largest_bytes))
    executor = ThreadPoolExecutor(max_workers=workers)
    try:
        futures = {executor.submit(_run, measurement, stage): measurement for measurement in measurements}
        for index, future in enumerate(as_completed(futures), start=1):
            future.result()
            progress(task, index, len(measurements), futures[future].candidate.name)
    finally:  # Ctrl-C kills the workers too; what has not started must not start
        executor.shutdown(cancel_futures=True)
