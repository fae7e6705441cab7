"""Summary of finished measurements: a row for each, and the raw data behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark import corruptions
from feredge.benchmark.accuracy import accuracy, accuracy_drop, corrupted_accuracies
from feredge.benchmark.candidates import Candidate, TestSet
from feredge.benchmark.config import BenchmarkConfig
from feredge.benchmark.measurement import Corruption, Measurement
from feredge.benchmark.results import Data, Machine, Results, Row
from feredge.errors import ArtifactError
from feredge.inference.c_source import c_library_memory
from feredge.inspection.macs import Macs

LATENCY_QUANTILES = 1001

RawData = dict[str, NDArray[np.generic]]
"""Labels, probabilities and latency quantiles, by the names in `harness.measure_candidates`."""


def summarize(
    test_sets: Sequence[TestSet],
    measurements: Sequence[Sequence[Measurement]],
    config: BenchmarkConfig,
    machine: Machine,
    *,
    recipe: dict[str, object],
    notes: Sequence[str] = (),
    command: str = "",
) -> tuple[Results, RawData]:
    """Return the results and raw data of finished measurements, given as one sequence for each test set."""
    first = test_sets[0]
    test = first.splits.test
    data = Data(
        source=Path(test.source).name,
        digest=test.digest,
        classes=test.classes,
        images=first.images_per_class,
        repeated=int((~first.unique).sum()),
        dropped=first.splits.dropped,
    )
    raw_data: RawData = {"labels": test.labels}
    rows: list[Row] = []
    for test_set, test_set_measurements in zip(test_sets, measurements, strict=True):
        images = test_set.splits.test
        same_images = np.array_equal(images.rows, test.rows) and images.classes == data.classes
        rows += _rows(test_set, test_set_measurements, config, machine.peaks, same_images=same_images)
        raw_data |= _raw_data(test_set_measurements)
        if not same_images:
            raw_data |= {f"{measurement.candidate.name}/labels": images.labels for measurement in test_set_measurements}
    results = Results(
        recipe=dict(recipe),
        data=data,
        machine=machine,
        config=config,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=tuple(rows),
        notes=tuple(notes),
        command=command,
    )
    return results, raw_data


def reference_measurement(measurements: Sequence[Measurement]) -> Measurement | None:
    """Return what drops are measured against: the float model, else a float32 file, preferably the dense one."""
    complete = [measurement for measurement in measurements if measurement.probabilities is not None]
    floats = [measurement for measurement in complete if measurement.candidate.kind == "float"]
    float32 = [
        measurement
        for measurement in complete
        if (measurement.candidate.kind, measurement.candidate.precision) == ("artifact", "float32")
    ]
    float32.sort(key=lambda measurement: measurement.candidate.variant != "dense")
    return next(iter((*floats, *float32)), None)


def _rows(
    test_set: TestSet,
    measurements: Sequence[Measurement],
    config: BenchmarkConfig,
    peaks: dict[str, float],
    *,
    same_images: bool,
) -> list[Row]:
    """Return a row for each measurement; with `same_images` the test set is that of the results' data."""
    reference = reference_measurement(measurements)
    test = test_set.splits.test
    test_set_digest = hashlib.sha256(test.rows.astype("<i8").tobytes()).hexdigest()[:16]
    dense_macs = [
        measurement.macs
        for measurement in measurements
        if (measurement.candidate.variant, measurement.candidate.precision) == ("dense", "float32")
    ]
    rows = []
    for measurement in measurements:
        macs = measurement.macs
        if macs is None and measurement.candidate.kind == "float":  # the dense float32 file is the same network
            macs = next((dense for dense in dense_macs if dense is not None), None)
        row = _row(measurement, reference, test_set, config)
        rows.append(
            replace(
                row,
                network=test_set.network,
                reference_row=reference.candidate.name if reference is not None and row.drop is not None else "",
                classes=() if same_images else test.classes,
                images=() if same_images else test_set.images_per_class,
                test_set_digest=test_set_digest,
                macs=macs,
                roofline=_fraction_of_peak(macs, peaks, row),
            )
        )
    return rows


def _fraction_of_peak(macs: Macs | None, peaks: dict[str, float], row: Row) -> float | None:
    """Return the time that `macs` take at the machine's peak, as a fraction of the row's median at one thread."""
    if macs is None or row.main_latency is None or not peaks:
        return None
    return 1e3 * (macs.floating / peaks["float32"] + macs.integer / peaks["int8"]) / row.main_latency.median


def _row(measurement: Measurement, reference: Measurement | None, test_set: TestSet, config: BenchmarkConfig) -> Row:
    """Return a measurement's row, without what depends on the results' data and on other rows."""
    test = test_set.splits.test
    candidate, probabilities, labels = measurement.candidate, measurement.probabilities, test.labels
    other = reference if reference is not measurement else None
    file_accuracy = drop = None
    if probabilities is not None:
        file_accuracy = accuracy(probabilities, labels, unique=test_set.unique)
        if other is not None and other.probabilities is not None:
            drop = accuracy_drop(
                other.probabilities, probabilities, labels, margin=config.margin, seed=config.seed, rows=test.rows
            )
    memory = _library_memory(candidate)
    indices = corruptions.sample_indices(len(labels), config.corrupted, config.seed)
    reference_predictions = _predictions(other, indices) if other is not None else None
    return Row(
        name=candidate.name,
        kind=candidate.kind,
        format=candidate.format,
        variant=candidate.variant,
        precision=candidate.precision,
        sha256=measurement.sha256,
        bytes=measurement.size_bytes,
        failure=measurement.failure,
        accuracy=file_accuracy,
        drop=drop,
        cold_start=measurement.cold_start,
        memory=measurement.memory,
        latency=tuple(latency for threads in config.threads if (latency := measurement.latency(config, threads))),
        corrupted=corrupted_accuracies(
            _predictions(measurement, indices), reference_predictions or None, labels[indices], seed=config.seed
        ),
        runtime=candidate.runtime,
        sustained_load=measurement.sustained_load,
        idle_latency=measurement.idle_latency,
        arena_bytes=memory.get("arena_bytes"),
        constant_bytes=memory.get("constant_bytes"),
        transfer_bytes=measurement.transfer_bytes,
    )


def _library_memory(candidate: Candidate) -> dict[str, int]:
    """Return the memory that a C library states; nothing for other files, and where it states none."""
    try:
        return c_library_memory(candidate.path.read_bytes()) if candidate.format == "c" else {}
    except (ArtifactError, OSError):  # its row says why it could not be measured
        return {}


def _predictions(measurement: Measurement, indices: NDArray[np.int64]) -> dict[Corruption, NDArray[np.integer]]:
    """Return the predicted classes of the indexed images, clean and with each corruption; empty if one is missing."""
    complete = len(measurement.corrupted_predictions) >= sum(map(len, corruptions.CORRUPTION_STRENGTHS.values()))
    if measurement.probabilities is None or not complete:
        return {}
    return {("clean", 0): measurement.probabilities[indices].argmax(1), **measurement.corrupted_predictions}


def _raw_data(measurements: Sequence[Measurement]) -> RawData:
    raw_data: RawData = {}
    quantiles = np.linspace(0, 1, LATENCY_QUANTILES)
    for measurement in measurements:
        name = measurement.candidate.name
        if measurement.probabilities is not None:
            raw_data[f"{name}/probabilities"] = measurement.probabilities
        for (threads, task), rounds in measurement.samples_ns.items():
            if task == "inference":
                for index, samples in enumerate(rounds):
                    raw_data[f"{name}/{threads}/{index}"] = np.quantile(samples, quantiles).astype(np.float32)
    return raw_data
