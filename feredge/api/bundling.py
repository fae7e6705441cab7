"""Bundles: what a device needs of a file, and one file that benchmarks a run on a device without ssh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from feredge.api.benchmarking import EffortName
from feredge.api.cancel import Cancel, cancellable
from feredge.api.datasets import run_dataset
from feredge.bundles.options import Arithmetic, BundleOptions
from feredge.errors import RunError
from feredge.paths import RunPath, require
from feredge.progress import Progress, quiet
from feredge.run import RunFolder

if TYPE_CHECKING:
    from feredge.api.datasets import DataSource

TargetName = Literal["android", "executorch", "ios", "mcu", "pi", "web"]


@dataclass(frozen=True)
class BundleResult:
    """The file or folder that was written; `size_bytes` of all its files."""

    path: Path
    size_bytes: int


def bundle(
    run: str | PathLike[str],
    *,
    out: str | PathLike[str],
    target: TargetName | None = None,
    arithmetic: Arithmetic = "xnnpack",
    board: str | None = None,
    data: DataSource | None = None,
    effort: EffortName = "default",
    threads: Sequence[int] = (),
    batches: Sequence[int] = (),
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> BundleResult:
    """Write what a device needs of an exported file to a folder, with golden vectors to test it there.

    Without `target`, write one file that benchmarks a run's files on a device, as `python BENCH.ZIP`.

    Args:
        run: an exported run; with `target` also a folder of exported files, a name of `feredge.models()`, or a file:
            an int8 `.tflite` file, for `ios` a float32 `.onnx` file, for `executorch` an int8 or float32 one.
        out: the folder to write, which must be new, empty or an earlier bundle; without `target` the path of a zip
            file, which contains the test images.
        target: `mcu`, a C library for microcontrollers; `pi`, compiled libraries for 32-bit and 64-bit Arm Linux, for
            which `Predictor` needs numpy alone; `web`, a web page and an ES module; `android`, a library with Java and
            Kotlin; `ios`, a Core ML package with a Swift class; `executorch`, a `.pte` program.
        arithmetic: with `target="mcu"`, whose answers the library gives, bit for bit: `xnnpack` for LiteRT's with
            XNNPACK, `tflm` for TensorFlow Lite Micro's.
        board: with `target="mcu"`, a board that the library must fit, as `raspberry-pi-pico`.
        data: the run's data, if moved since training.
        effort, threads, batches: as in `feredge.benchmark`.
        progress: called between steps.
        cancel: polled between steps.

    Raises:
        RunError: not an exported run, other data than it was trained on, or another folder at `out`.
        ArtifactError: no file of that kind, or one that the target cannot take.
        Cancelled: `cancel` returned True.
    """
    if target is not None:
        if data is not None or threads or batches or effort != "default":
            raise RunError("expected data, effort, threads and batches of a benchmark without a target, found a target")
        return _device_bundle(target, run, Path(out), BundleOptions(arithmetic, board))
    from feredge.devices.bundle import BenchmarkPreset
    from feredge.devices.bundle import bundle as write_bundle

    folder = RunFolder.open(require(run, RunPath).path, trained=True, exported=True)
    dataset = run_dataset(folder, data)
    preset = BenchmarkPreset(effort, tuple(threads), tuple(batches))
    path = write_bundle(folder, dataset, Path(out), preset=preset, progress=cancellable(progress, cancel))
    return BundleResult(path, path.stat().st_size)


def _device_bundle(target: str, model: str | PathLike[str], out: Path, options: BundleOptions) -> BundleResult:
    from feredge.bundles.targets import bundle as write_bundle

    folder = write_bundle(target, model, out, options)
    return BundleResult(folder, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
