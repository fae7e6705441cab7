"""Bundles: one file that benchmarks a run on a device without ssh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from feredge.api.benchmarking import EffortName
from feredge.api.cancel import Cancel, cancellable
from feredge.api.datasets import run_dataset
from feredge.paths import RunPath, require
from feredge.progress import Progress, quiet
from feredge.run import RunFolder

if TYPE_CHECKING:
    from feredge.api.datasets import DataSource


@dataclass(frozen=True)
class BundleResult:
    """The file that was written."""

    path: Path
    size_bytes: int


def bundle(
    run: str | PathLike[str],
    *,
    out: str | PathLike[str],
    data: DataSource | None = None,
    effort: EffortName = "default",
    threads: Sequence[int] = (),
    batches: Sequence[int] = (),
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> BundleResult:
    """Write one file that benchmarks a run's files on a device, as `python BENCH.ZIP`.

    Args:
        run: an exported run.
        out: path of the zip file to write; it contains the test images.
        data: the run's data, if moved since training.
        effort, threads, batches: as in `feredge.benchmark`.
        progress: called between steps.
        cancel: polled between steps.

    Raises:
        RunError: not an exported run, or other data than it was trained on.
        Cancelled: `cancel` returned True.
    """
    from feredge.devices.bundle import BenchmarkPreset
    from feredge.devices.bundle import bundle as write_bundle

    folder = RunFolder.open(require(run, RunPath).path, trained=True, exported=True)
    dataset = run_dataset(folder, data)
    preset = BenchmarkPreset(effort, tuple(threads), tuple(batches))
    path = write_bundle(folder, dataset, Path(out), preset=preset, progress=cancellable(progress, cancel))
    return BundleResult(path, path.stat().st_size)
