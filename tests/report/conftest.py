"""Synthetic results of the shape of a real run: every kind of row and verdict, and a failure. Nothing is measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from html_checks import PNG_BYTES

from feredge.benchmark import latency
from feredge.benchmark.accuracy import accuracy, accuracy_drop
from feredge.benchmark.config import BenchmarkConfig
from feredge.benchmark.corruptions import CORRUPTION_STRENGTHS
from feredge.benchmark.load_metrics import IdleLatency, LoadConfig, Minute, SustainedLoad
from feredge.benchmark.metrics import ColdStart, CorruptedAccuracy, Latency, Memory, Throughput, Timing
from feredge.benchmark.results import Data, Kind, Machine, Results, Row
from feredge.inference.contract import CLASSES
from feredge.report import write_html

TEST_IMAGES = 3589
VARIANT_NOISE = {
    "dense": (0.004, ("float32", "float16", "dynamic-int8", "int8")),
    "pruned-80": (0.02, ("float32", "float16", "dynamic-int8", "int8")),
    "qat": (0.006, ("float32", "float16", "dynamic-int8", "int8")),
}
SIZE_BYTES = {"float32": 402_000, "float16": 206_000, "dynamic-int8": 118_000, "int8": 121_000}
MEDIAN_MS = {"float32": 0.42, "float16": 0.43, "dynamic-int8": 0.51, "int8": 0.16}


def sustained_load(row: Row, slowdown: float) -> SustainedLoad:
    """Return 10 minutes of a file that is slower by `slowdown`, and throttled, from minute 4 on."""
    assert row.main_latency
    median = row.main_latency.median
    minutes = []
    for number in range(1, 11):
        hot = number >= 4 and slowdown > 0
        factor = 1 + slowdown * hot
        one = Minute(
            60_000, median * factor, 2 * median * factor, 0.4 * factor, 1500 / factor, 55 + 3.0 * number, (), 1.5
        )
        minutes.append(dataclasses.replace(one, slowed=("frequency capped",)) if hot else one)
    return SustainedLoad(tuple(minutes), "dense.float32.tflite", 48.0)


def idle_latency(row: Row) -> IdleLatency:
    """Return the latency of a file after idling for a second: three times the steady one."""
    assert row.main_latency
    steady = row.main_latency.median
    return IdleLatency(1.0, 30, steady, 3 * steady, 4 * steady, 1.4 * steady)


def synthetic_results() -> Results:
    """Return results of a float model, 21 files (one failed), and two baselines."""
    random = np.random.default_rng(3)
    labels = random.choice(7, TEST_IMAGES, p=(0.13, 0.02, 0.14, 0.25, 0.17, 0.12, 0.17))
    logits = random.normal(size=(TEST_IMAGES, 7)) + 2.3 * np.eye(7)[labels] * random.random((TEST_IMAGES, 1)) * 2
    effort = BenchmarkConfig.preset("default", seed=1)
    effort = dataclasses.replace(effort, threads=(1, 4), load=LoadConfig(minutes=10, idle_seconds=1.0))

    def softmax(values: np.ndarray) -> np.ndarray:
        powers = np.exp(values)
        return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)

    reference = softmax(logits)

    def row(name: str, kind: Kind, variant: str, precision: str, size: int, ms: float, noise: float) -> Row:
        probabilities = softmax(logits + random.normal(scale=noise, size=logits.shape)) if noise else reference
        jitter = 0.09 if name.startswith("dense.float16") else 0.01

        def timing(scale: float) -> Timing:
            rounds = [
                ms * scale * 1e6 * (1 + random.normal(scale=jitter)) * (1 + random.gamma(0.5, 0.03, 900))
                for _ in range(5)
            ]
            return latency.summarize_rounds(rounds)  # type: ignore[arg-type]  # times as measured are whole ns

        return Row(
            name=name,
            kind=kind,
            format={"float": "keras", "baseline": "skops"}.get(kind, name.rpartition(".")[2]),
            variant=variant,
            precision=precision,
            sha256=f"{random.integers(1 << 62):064x}",
            bytes=size,
            accuracy=accuracy(probabilities, labels, unique=labels >= 0),
            drop=None if kind == "float" else accuracy_drop(reference, probabilities, labels, margin=1.0, seed=1),
            cold_start=ColdStart(load=80 + 200 * random.random(), first_call=4 * ms),
            memory=Memory(peak=int(9e7 + size), added=int(4e7 + size)),
            latency=tuple(
                Latency(threads, timing(threads**-0.7), timing(0.05), timing(1.08), (Throughput(32, 1400 / ms),))
                for threads in effort.threads
            ),
            corrupted=(
                CorruptedAccuracy("clean", 0, 0.7, 0.0, -0.5, 0.5),
                *(
                    CorruptedAccuracy(
                        kind, strength, 0.7 - (0.02 + noise / 60) * strength * (1 + index / 4), 0.5, -0.5, 1.5
                    )
                    for index, kind in enumerate(CORRUPTION_STRENGTHS)
                    for strength in range(1, 6)
                ),
            ),
        )

    rows = [row("float", "float", "dense", "float32", 1_240_000, 1.94, 0)]
    for variant, (noise, precisions) in VARIANT_NOISE.items():
        for precision in precisions:
            for kind in ("tflite", "onnx"):
                if (precision, kind) == ("float16", "onnx"):
                    continue
                precision_noise = noise * (1 if "float" in precision else 8) + (
                    0.9 if (variant, precision) == ("pruned-80", "int8") else 0
                )
                median_ms = MEDIAN_MS[precision] * (0.85 if kind == "onnx" else 1)
                size = int(SIZE_BYTES[precision] * (1.07 if kind == "onnx" else 1) * (1 + 0.01 * len(variant)))
                name = f"{variant}.{precision}.{kind}"
                rows.append(row(name, "artifact", variant, precision, size, median_ms, precision_noise))
    rows[7] = dataclasses.replace(
        rows[7],
        failure="predict: the worker was ended by SIGSEGV: <b>not HTML</b>",
        accuracy=None,
        drop=None,
        latency=(),
    )
    rows[1:4] = [
        dataclasses.replace(row, sustained_load=sustained_load(row, slowdown), idle_latency=idle_latency(row))
        for row, slowdown in zip(rows[1:4], (0.0, 0.4, 1.2), strict=True)
    ]
    rows.append(row("pca-svc", "baseline", "classical", "float32", 21_300_000, 3.4, 2.1))
    rows.append(row("random-forest", "baseline", "classical", "float32", 88_000_000, 11.2, 2.6))
    counts = tuple(map(int, np.bincount(labels, minlength=7)))
    machine = Machine(
        "Synthetic CPU",
        "x86_64",
        ("avx2", "avx512_vnni"),
        4,
        8 << 30,
        "performance",
        "Linux 6.1",
        {"python": "3.11"},
        0.1,
    )
    data = Data("synthetic.csv", "ab" * 32, CLASSES, counts, 268, 2251)
    return Results({"name": "synthetic"}, data, machine, effort, "2026-01-02T03:04:05+00:00", tuple(rows))


@pytest.fixture(scope="session")
def results() -> Results:
    """Synthetic results."""
    return synthetic_results()


@pytest.fixture(scope="session")
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report beside the training plots of a run."""
    folder = tmp_path_factory.mktemp("report")
    for name in ("curves.png", "confusion.png"):
        (folder / name).write_bytes(PNG_BYTES)
    write_html(results, folder / "report.html")
    return folder / "report.html"
