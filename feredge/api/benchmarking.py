"""Measuring runs and model files, here or on a device, and comparing with earlier results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from feredge.api.cancel import Cancel, cancellable
from feredge.api.dataframe import to_dataframe
from feredge.api.regression_gate import Baseline, read_gate
from feredge.benchmark.config import TIMEOUT_SECONDS
from feredge.benchmark.load_metrics import MAX_RATE, MIN_RATE, LoadConfig
from feredge.errors import FeredgeError
from feredge.files import new_folder
from feredge.paths import ExportPath, ModelFile, NamedModel, RunPath, require, resolve
from feredge.progress import Progress, quiet
from feredge.run import RunFolder

if TYPE_CHECKING:
    import pandas

    from feredge.benchmark import Results
    from feredge.benchmark.regression import RegressionReport
    from feredge.data.dataset import Dataset
    from feredge.inference.foreign import ForeignModel

EffortName = Literal["quick", "default", "strict"]


@dataclass(frozen=True)
class Device:
    """A device that is reached by ssh.

    Attributes:
        address: `ssh://USER@HOST:PORT`.
        python: the Python command on the device.
        ssh_options: `KEY=VALUE` options of ssh and scp.
    """

    address: str
    python: str = "python3"
    ssh_options: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class BenchmarkResult:
    """Result of a benchmark.

    Attributes:
        results: all measurements.
        results_file: path of the results.
        page: path of the HTML report.
        regression: the comparison with the baseline; None without one.
    """

    results: Results
    results_file: Path
    page: Path
    regression: RegressionReport | None = None

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per file and runtime, as `results_rows`."""
        return to_dataframe(results_rows(self.results))


def benchmark(
    targets: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    data: str | PathLike[str] | None = None,
    effort: EffortName = "default",
    threads: Sequence[int] = (),
    batches: Sequence[int] = (),
    runtimes: Sequence[str] = (),
    classes: Sequence[str] = (),
    input_range: tuple[float, float] = (0.0, 1.0),
    output: str = "",
    foreign: Mapping[str, ForeignModel] = MappingProxyType({}),
    baselines: bool = True,
    timeout_seconds: float = TIMEOUT_SECONDS,
    sustained_minutes: int = 0,
    rate: float | None = None,
    idle_seconds: float = 0.0,
    faces: bool = True,
    out: str | PathLike[str] | None = None,
    device: Device | str | None = None,
    cores: Sequence[str] = (),
    baseline: Baseline | str | PathLike[str] | None = None,
    command: str = "",
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> BenchmarkResult:
    """Measure accuracy, drop, size and latency of every file; write results and an HTML report.

    Args:
        targets: run folders, folders of exported files, model files (`.onnx`, `.ort`, `.tflite`) or names of
            `feredge.models()`.
        data: the data to test on; the first run's by default.
        effort: `quick` times fewer runs; `strict` times 600 s per row, and corrupts all test images instead of 1,000.
        threads: thread counts in addition to 1; all cores by default.
        batches: batch sizes for throughput; 32 by default.
        runtimes: other runtimes to measure in, too: `xnnpack-off`, `opencv`, `tflite-micro`; and in headless
            Chromium `web`, `litert-js`, `onnxruntime-web`.
        classes: class names of files that feredge did not write, in the order of their outputs, each mapped to the
            data's classes if they differ: `["happy", "low = sad + fear"]`.
        input_range: input values of black and white pixels for such files.
        output: name of the output of such files, if they have several.
        foreign: classes, input range and output of single such files, by file name.
        baselines: fit and measure the classical baselines of the first run, too.
        timeout_seconds: time limit for a file to load and to respond.
        sustained_minutes: also measure each file under sustained load for so many minutes.
        rate: calls a second under sustained load; by default as many as possible.
        idle_seconds: also measure the latency of single calls after idling for so long.
        faces: include images of people in the HTML report.
        out: folder for the results; by default the run folder if `targets` is one run, else `bench`.
        device: measure one run on this device, over ssh.
        cores: Arm cores to emulate for instruction counts: `cortex-a72`, or of C libraries `cortex-m4`.
        baseline: earlier results to compare with.
        command: command line shown in the report, to measure again.
        progress: called between turns.
        cancel: polled between turns.

    Raises:
        RunError, ArtifactError: a target that cannot be measured.
        DataError: no data, or no labelled test images.
        ResultsError: a baseline on other data.
        FeredgeError: a rate below MIN_RATE, or without sustained load.
        DeviceError: a device that is unreachable or does not meet the requirements.
        Cancelled: `cancel` returned True.
    """
    gate = None if baseline is None else read_gate(baseline)
    paths = [targets] if isinstance(targets, str | PathLike) else list(targets)
    black, white = input_range
    target_options = {"classes": tuple(classes), "black": black, "white": white, "output": output, "foreign": foreign}
    target_options |= {"runtimes": tuple(runtimes), "baselines": baselines, "timeout_seconds": timeout_seconds}
    load = _load_config(sustained_minutes, rate, idle_seconds)
    settings = _Settings(effort, tuple(threads), tuple(batches), load, timeout_seconds, target_options)
    source = None if data is None else str(data)
    check_digest = _accept if gate is None else gate.check_data
    progress = cancellable(progress, cancel)
    if device is not None:
        if len(paths) > 1 or runtimes or classes or out:
            raise FeredgeError("a device takes one run, and no runtimes, classes or folder for the results")
        remote = device if isinstance(device, Device) else Device(device)
        measured = _measure_on_device(paths[0], source, remote, settings, cores, check_digest, progress)
    else:
        measured = _measure_here(
            paths,
            source,
            settings,
            cores,
            show_faces=faces,
            out=None if out is None else Path(out),
            command=command,
            check_digest=check_digest,
            progress=progress,
        )
    return measured if gate is None else replace(measured, regression=gate.compare(measured.results))


def _accept(digest: str) -> None:
    """Accept any data, for a benchmark without a baseline."""


def _load_config(sustained_minutes: int, rate: float | None, idle_seconds: float) -> LoadConfig | None:
    if sustained_minutes < 0 or idle_seconds < 0:
        raise FeredgeError(f"expected times from 0 up, found {min(sustained_minutes, idle_seconds):g}")
    if rate is not None and not (MIN_RATE <= rate <= MAX_RATE and sustained_minutes):
        expected = f"a rate of {MIN_RATE} to {MAX_RATE:,} calls a second, and minutes of sustained load"
        raise FeredgeError(f"expected {expected}, found a rate of {rate:g} and {sustained_minutes} minutes")
    return LoadConfig(sustained_minutes, rate, idle_seconds) if sustained_minutes or idle_seconds else None


@dataclass(frozen=True)
class _Settings:
    """Arguments of `benchmark` that say how files are measured; `target_options` are those of TargetOptions."""

    effort: EffortName
    threads: tuple[int, ...]
    batches: tuple[int, ...]
    load: LoadConfig | None
    timeout_seconds: float
    target_options: dict[str, Any]


def _measure_here(
    targets: Sequence[str | PathLike[str]],
    data: str | None,
    settings: _Settings,
    cores: Sequence[str],
    *,
    show_faces: bool,
    out: Path | None,
    command: str,
    check_digest: Callable[[str], None],
    progress: Progress,
) -> BenchmarkResult:
    from feredge.benchmark import (
        BenchmarkConfig,
        TargetOptions,
        collect_candidates,
        measure_candidates,
        write_results,
    )
    from feredge.report import changed_prediction_thumbnails, write_html

    config = BenchmarkConfig.preset(
        settings.effort, threads=settings.threads, batches=settings.batches, load=settings.load
    )
    target_options = TargetOptions(**settings.target_options)
    paths = list(_target_paths(targets))
    # Created before hours of measuring: an unusable path is an error.
    with nullcontext() if out is None else new_folder(out):
        plan = collect_candidates(paths, data, target_options, progress=progress)
        check_digest(plan.test_sets[0].splits.test.digest)
    folder = RunFolder(out or (paths[0] if plan.is_run else Path("bench")))
    journal = folder.results.with_suffix(".load.json")
    results, raw_data = measure_candidates(
        plan.test_sets,
        config,
        recipe=plan.recipe,
        notes=plan.notes,
        command=command,
        timeout_seconds=settings.timeout_seconds,
        journal=journal,
        progress=progress,
    )
    if cores:
        from feredge.devices.instruction_count import add_counts

        for test_set in plan.test_sets:
            results = add_counts(results, test_set.candidates, test_set.splits.test.images, cores, progress=progress)
    write_results(results, raw_data, folder.results)
    journal.unlink(missing_ok=True)
    thumbnails = (
        changed_prediction_thumbnails(results, (test_set.splits.test for test_set in plan.test_sets))
        if show_faces
        else {}
    )
    write_html(results, folder.report, thumbnails=thumbnails)
    return BenchmarkResult(results, folder.results, folder.report)


def _target_paths(targets: Sequence[str | PathLike[str]]) -> Iterable[Path]:
    """Yield the paths to measure, names resolved; other files among several are left for the results' notes."""
    for target in targets:
        place = resolve(target)
        if isinstance(place, NamedModel):
            yield place.path
        elif len(targets) > 1 and Path(target).exists():
            yield Path(target)
        else:
            yield require(target, RunPath, ExportPath, ModelFile).path


def _measure_on_device(
    target: str | PathLike[str],
    data: str | None,
    device: Device,
    settings: _Settings,
    cores: Sequence[str],
    check_digest: Callable[[str], None],
    progress: Progress,
) -> BenchmarkResult:
    from feredge.benchmark.candidates import artifact_candidates
    from feredge.data import split
    from feredge.devices.bundle import BenchmarkPreset
    from feredge.devices.instruction_count import add_counts
    from feredge.devices.remote import bench_on, check_device, results_file
    from feredge.devices.ssh import Address
    from feredge.devices.ssh import Device as SSHDevice
    from feredge.report import write_html

    run = RunFolder.open(require(target, RunPath).path, trained=True, exported=True)
    remote = SSHDevice(Address.parse(device.address), device.python, device.ssh_options)
    check_device(remote)  # before anything is prepared
    dataset: Dataset = run.load_data(data)
    check_digest(dataset.digest)
    preset = BenchmarkPreset(settings.effort, settings.threads, settings.batches, settings.load)
    results = bench_on(remote, run, dataset, preset=preset, progress=progress)
    if cores:
        images = split(dataset, run.recipe().data).test.images
        results = add_counts(results, artifact_candidates(run.artifacts), images, cores, progress=progress)
        results.write(results_file(run, remote))
    page = run.path / f"report-{remote.address.name}.html"
    write_html(results, page)
    return BenchmarkResult(results, results_file(run, remote), page)


def results_rows(results: Results) -> list[dict[str, Any]]:
    """Return the main measurements of each file and runtime in some results.

    Accuracies are fractions, drops percentage points with their 95% interval, latencies those of one image at one
    thread.
    """
    rows = []
    for row in results.rows:
        timing, drop = row.main_latency, row.drop
        rows.append(
            {
                "name": row.name,
                "kind": row.kind,
                "format": row.format,
                "variant": row.variant,
                "precision": row.precision,
                "runtime": row.runtime,
                "size_bytes": row.bytes,
                "accuracy": None if row.accuracy is None else row.accuracy.accuracy,
                "drop_pp": None if drop is None else drop.pp,
                "drop_low_pp": None if drop is None else drop.low,
                "drop_high_pp": None if drop is None else drop.high,
                "median_ms": None if timing is None else timing.median,
                "p90_ms": None if timing is None else timing.p90,
                "failure": row.failure,
            }
        )
    return rows
