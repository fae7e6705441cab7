"""Costs elsewhere: latency on a device over a real ssh connection, instructions on an emulated core."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_space import write_space
from tiny_training import stripes

import feredge
import feredge.recipes as recipes
from feredge.benchmark.metrics import Instructions
from feredge.bundles.mcu.cortex_m import missing_tool
from feredge.errors import DeviceError
from feredge.recipes.schema import Recipe
from feredge.search import candidate, device_costs


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Recipe, Any, list[Path]]]:
    """A small untrained network with its recipe and files."""
    small = ["data.size=16", "network.channels=[8]", "network.blocks=[1]", "network.stem=8"]
    recipe = recipes.load("demo", overrides=small)
    core = candidate.build_untrained(recipe, 3)
    yield recipe, core, candidate.export_untrained(core, recipe, ["a", "b", "c"], tmp_path_factory.mktemp("files"))


def test_what_a_device_gets_is_a_run(exported: tuple[Recipe, Any, list[Path]], tmp_path: Path) -> None:
    """Guards the bundle of an untrained candidate: a whole run, with the reference among its files."""
    from feredge.devices.bundle import bundle

    recipe, core, paths = exported
    reference = device_costs._export_reference(recipe, ("a", "b", "c"), tmp_path)
    run, dataset = device_costs._untrained_run(core, recipe, [*paths, reference], ("a", "b", "c"), tmp_path / "run")
    assert bundle(run, dataset, tmp_path / "bench.zip").stat().st_size > reference.stat().st_size
    assert {path.name for path in run.artifacts.glob("*.onnx")} == {"dense.int8.onnx", "reference.int8.onnx"}


def test_ratios_are_of_the_reference(
    exported: tuple[Recipe, Any, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a device's latencies: in units of the reference's, and none for a file that does not run there."""
    from types import SimpleNamespace

    timing = {"reference.int8.onnx": 2.0, "dense.int8.onnx": 1.0, "dense.int8.tflite": None}
    rows = [
        SimpleNamespace(name=name, main_latency=None if ms is None else SimpleNamespace(median=ms))
        for name, ms in timing.items()
    ]
    monkeypatch.setattr(device_costs, "bench_on", lambda *arguments, **options: SimpleNamespace(rows=rows))
    recipe, core, paths = exported
    device = SimpleNamespace(address="ssh://pi")
    ratios = device_costs.device_ratios(device, core, recipe, paths, tmp_path)  # type: ignore[arg-type] # only its name
    assert ratios == ([None, 0.5], 2.0)
    rows[0].main_latency = None
    with pytest.raises(DeviceError, match="ssh://pi: expected the latency of a reference network"):
        shutil.rmtree(tmp_path / "run")
        shutil.rmtree(tmp_path / "reference")
        device_costs.device_ratios(device, core, recipe, paths, tmp_path)  # type: ignore[arg-type] # only its name


def test_a_file_that_does_not_run_is_an_error(
    exported: tuple[Recipe, Any, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a limit of instructions against files that were not counted."""
    counts = {path.name: Instructions("cortex-a72", 5.0, 0.0) for path in exported[2]}
    monkeypatch.setattr(device_costs, "count_instructions", lambda *arguments: counts)
    assert device_costs.instruction_counts(exported[2], "cortex-a72") == [5.0, 5.0]
    counts["dense.int8.onnx"] = Instructions("cortex-a72", None, None, "ended with 1")
    with pytest.raises(
        DeviceError, match=r"dense\.int8\.onnx: expected instructions on cortex-a72, found none \(ended"
    ):
        device_costs.instruction_counts(exported[2], "cortex-a72")


def test_a_microcontroller_gets_the_c_library(exported: tuple[Recipe, Any, list[Path]], tmp_path: Path) -> None:
    """Guards limits of a microcontroller: RAM, flash and instructions of the code that runs there, in QEMU."""
    if missing := missing_tool():
        pytest.skip(missing)
    recipe, core, (tflite, _) = exported
    files = candidate.measured_files("cortex-m4")
    (path,) = candidate.export_untrained(core, recipe, ["a", "b", "c"], tmp_path, files)
    (cost,), (bound, _) = candidate.file_costs([path]), candidate.file_costs(exported[2])
    assert (cost.file, cost.multiply_adds) == ("int8.c", bound.multiply_adds)
    assert 0.5 * bound.ram_bytes < cost.ram_bytes and cost.size_bytes < tflite.stat().st_size
    (instructions,) = device_costs.instruction_counts([path], "cortex-m4")
    assert cost.multiply_adds / 2 < instructions < 100 * cost.multiply_adds  # two at a time at best


def test_a_search_for_a_microcontroller(tmp_path: Path) -> None:
    """Guards the whole of it: candidates are measured as C libraries, and nothing is timed here."""
    if missing := missing_tool():
        pytest.skip(missing)
    space = write_space(tmp_path / "tiny.toml", search={"recipe": "demo"}, training={"epochs": 1, "batch_size": 16})
    found = feredge.search(space, stripes(140), out=tmp_path / "study", trials=1, core="cortex-m4", finalists=0)
    costs = [cost for trial in found.results.trials for cost in trial.costs]
    assert {cost.file for cost in costs} == {"int8.c"}
    assert all(cost.latency_ms is None and cost.instructions and cost.ram_bytes > 1000 for cost in costs)


def test_device_and_core_are_checked_first(tmp_path: Path) -> None:
    """Guards limits that nothing measures, and addresses that are none."""
    with pytest.raises(feredge.FeredgeError, match="expected a core to count instructions on, found none"):
        feredge.search("residual", "drawn:70", out=tmp_path / "s", trials=1, max_instructions=1e6)
    with pytest.raises(DeviceError, match="expected ssh://user@host:port"):
        feredge.search("residual", "drawn:70", out=tmp_path / "s", trials=1, device="pi")
    with pytest.raises(feredge.FeredgeError, match=r"expected a core among .*cortex-m4.*, found z80"):
        feredge.search("residual", "drawn:70", out=tmp_path / "s", trials=1, core="z80")
    with pytest.raises(feredge.FeredgeError, match="no limit in ms with cortex-m4, on which nothing is timed"):
        feredge.search("residual", "drawn:70", out=tmp_path / "s", trials=1, core="cortex-m4", max_ms=0.1)
