"""Limits of a candidate's costs, and how they are measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import feredge.recipes as recipes
from feredge.benchmark.measurement import Measurement
from feredge.benchmark.workers.client import WorkerFailure
from feredge.errors import ArtifactError
from feredge.inference.runtimes import open_artifact
from feredge.inspection import macs
from feredge.inspection.live_ranges import peak_activation_bytes
from feredge.search import candidate, latency
from feredge.search.costs import FileCost, Limits, best_file
from feredge.train.networks import multiply_adds

NANO_TFLITE = Path(__file__).parents[2] / "models" / "nano" / "dense.int8.tflite"
SMALL, LARGE = FileCost("int8.tflite", 90_000, 40_000, 10**7, 0.2), FileCost("int8.onnx", 120_000, 40_000, 10**7, 0.1)


def test_the_file_that_fits_is_chosen() -> None:
    """Guards the choice between a candidate's files: one that fits, else the one that is nearest to the limits."""
    assert best_file([SMALL, LARGE], Limits()) == LARGE
    assert best_file([SMALL, LARGE], Limits(max_kb=100)) == SMALL
    assert best_file([SMALL, LARGE], Limits(max_kb=80)) == SMALL
    assert best_file([SMALL, LARGE], Limits(max_kb=100, max_ms=0.15)) == LARGE  # 20% too large, not 33% too slow


def test_violations_are_relative() -> None:
    """Guards what the sampler is told: how far a candidate exceeds each limit, and the reason in words."""
    limits = Limits(max_kb=100, max_ms=0.2, max_instructions=5)
    assert limits.violations(LARGE) == pytest.approx({"max_kb": 0.2, "max_ms": -0.5})  # instructions are not known
    assert limits.reason(LARGE) == "int8.onnx: 120.0 KB, over 100" and limits.reason(SMALL) == ""
    assert limits.describe() == "at most 100 KB, 0.2 ms, 5 instructions" and Limits().describe() == ""


def test_memory_is_that_of_the_largest_operator() -> None:
    """Guards the bound on memory, by hand for nano: after the stem, 24x24x32 in, out and the shortcut's input."""
    if not NANO_TFLITE.is_file():
        pytest.skip("no models/ beside an installed package")
    assert peak_activation_bytes(NANO_TFLITE) == 3 * 24 * 24 * 32


@pytest.mark.parametrize(
    "network",
    [
        ["stem=8", "blocks=[1, 1]", "kernel=5"],
        ["stem=8", "blocks=[1, 1]", "kernel=5", "convolution=depthwise", "squeeze_excitation=4"],
        ["name=convolutional", "kernels=[5, 3]", "dense=[16, 8]"],
    ],
    ids=["dense", "depthwise", "convolutional"],
)
def test_an_untrained_network_is_exported_and_timed(tmp_path: Path, network: list[str]) -> None:
    """Guards the costs of a candidate: files that run, of the size of trained ones, timed beside the reference."""
    overrides = ["data.size=16", "network.channels=[8, 16]", *(f"network.{setting}" for setting in network)]
    recipe = recipes.load("demo", overrides=overrides)
    core = candidate.build_untrained(recipe, 3)
    paths = candidate.export_untrained(core, recipe, ["a", "b", "c"], tmp_path)
    costs = candidate.file_costs(paths)
    assert [cost.file for cost in costs] == ["int8.tflite", "int8.onnx"]
    for path, cost in zip(paths, costs, strict=True):
        probabilities = open_artifact(path).predict(np.zeros((2, 16, 16, 1), np.uint8))
        assert probabilities.shape == (2, 3)
        counted = macs.count(path)
        assert counted is not None and cost.multiply_adds == counted.integer == multiply_adds(core)
        assert core.count_params() < cost.size_bytes == path.stat().st_size
    ratios, reference_ms = latency.measure_ratios(paths)
    assert set(ratios) == {path.name for path in paths} and reference_ms > 0.0
    assert all(0.0 < ratio < 5.0 for ratio in ratios.values())  # nano has 12 million multiply-adds, this one under 1


@pytest.mark.parametrize("failures", [1, latency.MEASURING_ATTEMPTS], ids=["once", "always"])
def test_a_slow_machine_rejects_no_candidate(monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    """Guards a candidate from a worker that once did not answer in time; one that never answers is refused."""
    if not NANO_TFLITE.is_file():
        pytest.skip("no models/ beside an installed package")
    time_turn, left = Measurement.time_turn, [WorkerFailure("no answer within 60 s")] * failures

    def failing(measurement: Measurement, *arguments: Any) -> None:
        if left:
            raise left.pop()
        time_turn(measurement, *arguments)

    monkeypatch.setattr(Measurement, "time_turn", failing)
    if failures < latency.MEASURING_ATTEMPTS:
        assert set(latency.measure_ratios([NANO_TFLITE])[0]) == {NANO_TFLITE.name}
    else:
        with pytest.raises(ArtifactError, match="no answer within 60 s"):
            latency.measure_ratios([NANO_TFLITE])
