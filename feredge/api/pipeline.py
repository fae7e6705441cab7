"""The main job: training, export and benchmark in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

from feredge.api.benchmarking import BenchmarkResult, EffortName, benchmark
from feredge.api.cancel import Cancel
from feredge.api.exporting import ExportResult, export
from feredge.api.training import DEFAULT_OPTIONS, Overrides, TrainOptions, TrainResult, train
from feredge.progress import Progress, quiet

if TYPE_CHECKING:
    import pandas

    from feredge.api.datasets import DataSource

StepResult = TrainResult | ExportResult | BenchmarkResult


@dataclass(frozen=True, eq=False)
class RunResult:
    """The result of each step of the main job."""

    trained: TrainResult
    exported: ExportResult
    benchmarked: BenchmarkResult

    def to_dataframe(self) -> pandas.DataFrame:
        """Return the benchmark's rows, one per file and runtime."""
        return self.benchmarked.to_dataframe()


def run(
    recipe: str | PathLike[str] = "nano",
    *,
    data: DataSource,
    out: str | PathLike[str] | None = None,
    overrides: Overrides = (),
    options: TrainOptions = DEFAULT_OPTIONS,
    effort: EffortName = "default",
    faces: bool = True,
    command: str = "",
    on_result: Callable[[StepResult], None] | None = None,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> RunResult:
    """Train, export and benchmark; completed steps are skipped.

    Arguments and errors as of `feredge.train`, `feredge.export` and `feredge.benchmark`; `on_result` is called with
    each step's result when the step is complete.
    """
    trained = train(recipe, data, out=out, overrides=overrides, options=options, progress=progress, cancel=cancel)
    notify = on_result or (lambda _: None)
    notify(trained)
    exported = export(trained.run.path, data=trained.dataset, progress=progress, cancel=cancel)
    notify(exported)
    benchmarked = _current_results(trained, effort) or benchmark(
        trained.run.path,
        data=data if isinstance(data, str | PathLike) else None,
        effort=effort,
        faces=faces,
        command=command,
        progress=progress,
        cancel=cancel,
    )
    notify(benchmarked)
    return RunResult(trained, exported, benchmarked)


def _current_results(trained: TrainResult, effort: EffortName) -> BenchmarkResult | None:
    """Return the run's results if they are of its current files and data, and its HTML report exists; else None."""
    from feredge.benchmark import current_results

    results = current_results(trained.run, trained.dataset, quick=effort == "quick")
    if results is None or not trained.run.report.is_file():
        return None
    return BenchmarkResult(results, trained.run.results, trained.run.report)
