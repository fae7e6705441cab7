"""Latency of a candidate's files, in turns with a reference network, so that a drifting clock does not decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from feredge.benchmark.candidates import Candidate
from feredge.benchmark.config import BenchmarkConfig
from feredge.benchmark.measurement import Measurement
from feredge.benchmark.stages import color_crop
from feredge.benchmark.workers.client import WorkerFailure
from feredge.benchmark.workers.pool import WorkerPool
from feredge.errors import ArtifactError
from feredge.inference.contract import InputContract
from feredge.inference.embedded_card import read_card
from feredge.inference.runtimes import DEFAULT_MODEL

TIMING_IMAGES = 16
REFERENCE_NAME = "reference"
MEASURED_ROUNDS = 7
MEASURING_ATTEMPTS = 2  # a worker that does not answer in time may be the machine's fault, not the candidate's


def measure_ratios(paths: Sequence[Path]) -> tuple[dict[str, float], float]:
    """Time files and the reference network, the one in the package, in interleaved rounds on one thread.

    Args:
        paths: model files with a card.

    Returns:
        By file name, the median over the rounds of its latency over the reference's in the same round; and the
        reference's own latency in ms, the median over the rounds.

    Raises:
        ArtifactError: a file that cannot be run, at each of MEASURING_ATTEMPTS attempts.
    """
    for attempt in range(1, MEASURING_ATTEMPTS + 1):
        try:
            measurements = _time_in_turns(paths)
            break
        except WorkerFailure as error:
            if attempt == MEASURING_ATTEMPTS:
                raise ArtifactError(f"a candidate's latency cannot be measured: {error}") from error
    medians = {one.candidate.name: _round_medians(one) for one in measurements}
    reference = medians.pop(REFERENCE_NAME)
    ratios = {
        name: median(value / base for value, base in zip(values, reference, strict=True))
        for name, values in medians.items()
    }
    return ratios, median(reference)


def _time_in_turns(paths: Sequence[Path]) -> list[Measurement]:
    """Return the measurements of the reference network and of the files."""
    config = replace(BenchmarkConfig.preset("quick"), rounds=MEASURED_ROUNDS, seconds=0.1 * MEASURED_ROUNDS)
    measurements = [Measurement(Candidate.from_card(read_card(DEFAULT_MODEL), DEFAULT_MODEL, name=REFERENCE_NAME))]
    measurements += [Measurement(Candidate.from_card(read_card(path), path)) for path in paths]
    with WorkerPool(1, _set_inputs) as pool:
        for order in config.turn_order(len(measurements)):
            for measurement in (measurements[index] for index in order):
                pool.acquire(measurement)
                measurement.time_turn(config, 1)
    return measurements


def _round_medians(measurement: Measurement) -> list[float]:
    """Return the median latency of each round in ms."""
    return [float(np.median(samples)) / 1e6 for samples in measurement.samples_ns[1, "inference"]]


def _set_inputs(measurement: Measurement) -> None:
    images = _noise(measurement.candidate.contract)
    measurement.set_inputs(images, np.stack([color_crop(image[..., :1]) for image in images]))


def _noise(contract: InputContract) -> Any:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (TIMING_IMAGES, *contract.shape), np.uint8)
