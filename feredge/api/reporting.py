"""Reports of results, as HTML, Markdown or csv; and selection of the file that fits a budget."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from feredge.api.benchmarking import results_rows
from feredge.api.dataframe import to_dataframe
from feredge.errors import DataError, ResultsError, RunError
from feredge.paths import ExportPath, ResultsFile, RunPath, require
from feredge.run import RunFolder

if TYPE_CHECKING:
    import pandas

    from feredge.api.datasets import DataSource
    from feredge.benchmark import Results, Row
    from feredge.benchmark.metrics import Timing

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ReportResult:
    """Results that were read, and the HTML report that was written of them.

    Attributes:
        results: results of each run or file.
        page: path of the HTML report; None if none was written.
    """

    results: tuple[Results, ...]
    page: Path | None

    def to_markdown(self) -> str:
        """Return a Markdown table; of several results, a comparison of each file's measurements."""
        from feredge.report import comparison_to_markdown, to_markdown

        return to_markdown(self.results[0]) if len(self.results) == 1 else comparison_to_markdown(self.results)

    def to_csv(self) -> str:
        """Return all measurements of the first results as csv."""
        from feredge.report import to_csv

        return to_csv(self.results[0])

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per file and runtime; the column `results` numbers the results from 0."""
        rows = [
            {"results": index, **row} for index, results in enumerate(self.results) for row in results_rows(results)
        ]
        return to_dataframe(rows)


def report(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    html: str | PathLike[str] | None = None,
    write_page: bool = True,
    data: DataSource | None = None,
    faces: bool = True,
) -> ReportResult:
    """Read the results of runs, and write an HTML report.

    Args:
        runs: run folders, folders of exported files or results files. Several are compared with the first.
        html: path of the HTML report; by default `report.html` in the folder of a single run, else none is written.
        write_page: False to read only.
        data: the run's data, if moved since training, for the images in the report.
        faces: include images of people in the report.

    Raises:
        RunError: a path without results.
        ResultsError: results that cannot be read, or several without a file in common.
    """
    from feredge.report import write_comparison_html, write_html

    targets = [runs] if isinstance(runs, str | PathLike) else list(runs)
    paths = [results_path(target) for target in targets]
    results = tuple(_read_results(path) for path in paths)
    page = None if html is None else Path(html)
    if len(results) > 1:
        if page is not None and write_page:
            write_comparison_html(results, page)
        return ReportResult(results, page)
    folder = Path(targets[0])
    if page is None and folder.is_dir():
        page = RunFolder(folder).report
    if page is None or not write_page:
        return ReportResult(results, None)
    thumbnails = _faces(results[0], folder, data) if faces else None
    write_html(results[0], page, run_folder=folder if folder.is_dir() else folder.parent, thumbnails=thumbnails)
    return ReportResult(results, page)


@dataclass(frozen=True, eq=False)
class SelectResult:
    """The file that fits a budget.

    Attributes:
        winner: the selected file's row in the results; None if no file fits.
        rejected: each other file's row, and the reason why it was rejected.
        all_throttled: no latency is valid, because of CPU throttling in every round.
        timing: the winner's latency of one face at one thread, on the device if its results were given.
    """

    winner: Row | None
    rejected: tuple[tuple[Row, str], ...]
    all_throttled: bool = False
    timing: Timing | None = None

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per file, the winner first: `name`, `size_bytes`, `selected`, `reason`."""
        rows = [(self.winner, "")] if self.winner is not None else []
        return to_dataframe(
            (
                {"name": row.name, "size_bytes": row.bytes, "selected": row is self.winner, "reason": reason}
                for row, reason in [*rows, *self.rejected]
            ),
            ("name", "size_bytes", "selected", "reason"),
        )


def select(
    run: str | PathLike[str] | Results,
    *,
    max_drop: float = math.inf,
    max_kb: float = math.inf,
    max_ms_p90: float = math.inf,
    max_ram_kb: float = math.inf,
    max_flash_kb: float = math.inf,
    device: str | PathLike[str] | None = None,
) -> SelectResult:
    """Choose the smallest of the fastest files that fit a budget, and give the reason why each other was rejected.

    Args:
        run: a run folder, a folder of exported files, a results file, or results.
        max_drop: largest accuracy drop against the float model, in percentage points.
        max_kb: largest file size, in units of 1,000 bytes.
        max_ms_p90: largest 90th-percentile latency of one face at one thread, in ms.
        max_ram_kb, max_flash_kb: of a C library (`.c`), largest memory of the activations, and largest weights and
            tables; other files do not state theirs, and are rejected.
        device: results of the same files on a device, whose latencies are used instead.

    Raises:
        RunError: a path without results.
        ResultsError: results that cannot be read, without exported files, or a limit that no file can meet.
    """
    from feredge.benchmark import Results
    from feredge.report.budget import Budget
    from feredge.report.budget import select as select_row

    budget = Budget(max_drop, max_kb, max_ms_p90, max_ram_kb, max_flash_kb)
    results = run if isinstance(run, Results) else _read_results(results_path(run))
    selection = select_row(results, budget, device=None if device is None else Results.read(Path(device)))
    return SelectResult(selection.selected, selection.rejected, selection.all_throttled, selection.timing)


def results_path(target: str | PathLike[str]) -> Path:
    """Return the results file of a run, of a folder of exported files, or the file itself.

    Raises:
        RunError: another path.
    """
    place = require(target, RunPath, ExportPath, ResultsFile)
    return place.path if isinstance(place, ResultsFile) else RunFolder(place.path).results


def _read_results(path: Path) -> Results:
    from feredge.benchmark import Results

    return Results.read(path)


def _faces(results: Results, run: Path, data: DataSource | None) -> dict[int, str] | None:
    """Return the images in the report; None if the run's own data are not available."""
    from feredge.api.datasets import load_dataset
    from feredge.report import changed_prediction_thumbnails

    try:
        if data is not None:
            dataset = load_dataset(data, channels=results.recipe.get("data", {}).get("channels", 1))
        elif run.is_dir():
            dataset = RunFolder.open(run).load_data()
        else:
            return None
        if dataset.digest != results.data.digest:
            raise ResultsError(
                f"{dataset.source}: expected the data of the results (SHA-256 {results.data.digest[:12]}), "
                f"found others ({dataset.digest[:12]})"
            )
    except (DataError, RunError) as error:
        if data is not None:
            raise
        logger.warning("the HTML report has no images of faces: %s", error)
        return None
    return changed_prediction_thumbnails(results, [dataset])
