"""The study page: the front, the importances, the finalists and every trial, as one HTML file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from feredge import files
from feredge.report.rendering import asset, render, trusted_html
from feredge.search.costs import FileCost
from feredge.search.final_evaluation import FinalEvaluation
from feredge.search.results import StudyResults, TrialRecord
from feredge.search.study import StudyFolder

PLOT_WIDTH, PLOT_HEIGHT, PLOT_MARGIN = 720.0, 320.0, 46.0
"""Of the plot, in its own units."""
AXIS_TICKS = 5
PLOTTED_COSTS: dict[str, Callable[[FileCost], float | None]] = {
    "latency in ms": lambda file: file.latency_ms,
    "million instructions": lambda file: None if file.instructions is None else file.instructions / 1e6,
    "size in KB": lambda file: file.size_bytes / 1e3,
}


def write_study_page(folder: StudyFolder, results: StudyResults, final_evaluation: FinalEvaluation | None) -> None:
    """Write the page of a study atomically."""
    files.write_text(folder.page, study_to_html(results, final_evaluation))


def study_to_html(results: StudyResults, final_evaluation: FinalEvaluation | None = None) -> str:
    """Return the study page."""
    states = [trial.state for trial in results.trials]
    return render(
        "study.html",
        title=f"Search of {results.space} on {results.source}",
        style=trusted_html(asset("page.css")),
        script="",
        subtitle=results.limits.describe() or "no limits",
        tiles=[
            ("trained to the end", states.count("complete")),
            ("ended early", states.count("pruned")),
            ("did not fit", states.count("misfit")),
            ("kills survived", results.kills),
            *((f"{part}, minutes", f"{seconds / 60:,.1f}") for part, seconds in results.seconds.items()),
        ],
        front=[_front_row(trial, results) for trial in results.front],
        plot=_plot(results),
        importances=[(name, share) for name, share in results.importances.items() if share > 0.0],
        correlations=sorted(results.rank_correlations().items()),
        final_evaluation=None if final_evaluation is None else _finalist_rows(final_evaluation),
        test_evaluations=0 if final_evaluation is None else final_evaluation.test_evaluations,
        columns=list(results.rows()[0]) if results.trials else [],
        rows=[[_cell(value) for value in row.values()] for row in results.rows()],
    )


def _front_row(trial: TrialRecord, results: StudyResults) -> tuple[str, ...]:
    file = trial.file(results.limits)
    costs = [""] * 5
    if file is not None:
        latency = "" if file.latency_ms is None else f"{file.latency_ms:.3f}"
        instructions = "" if file.instructions is None else f"{file.instructions / 1e6:,.2f}"
        costs = [file.file, f"{file.size_bytes / 1e3:,.1f}", latency, instructions, f"{file.ram_bytes / 1e3:,.1f}"]
    return (f"trial {trial.number}", f"{100 * (trial.accuracy or 0.0):.2f}", *costs)


def _finalist_rows(final_evaluation: FinalEvaluation) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for one in final_evaluation.finalists:
        chosen = one.name == final_evaluation.chosen
        behind = f"{one.behind_pp:.2f} [{one.behind_low_pp:.2f}, {one.behind_high_pp:.2f}]"
        rows.append(
            (
                f"trial {one.trial}" + ", chosen" * chosen,
                ", ".join(map(str, one.seeds)),
                f"{100 * fmean(one.validation):.2f}",
                f"{100 * fmean(one.test):.2f}" if one.test else "",
                "" if chosen or not one.test else behind,
            )
        )
    return rows


def _plot(results: StudyResults) -> dict[str, Any] | None:
    """Return the points of accuracy over the first cost that all trials have: latency, instructions, size.

    None without any trial.
    """
    complete = [(trial, file) for trial in results.complete if (file := trial.file(results.limits)) is not None]
    if not complete:
        return None
    known = {
        label: [value for _, file in complete if (value := cost(file)) is not None]
        for label, cost in PLOTTED_COSTS.items()
    }
    label, costs = next((label, values) for label, values in known.items() if len(values) == len(complete))
    accuracies = [100 * (trial.accuracy or 0.0) for trial, _ in complete]
    front = {trial.number for trial in results.front}
    across, up = _Axis(costs, PLOT_MARGIN, PLOT_WIDTH - 10), _Axis(accuracies, PLOT_HEIGHT - PLOT_MARGIN, 10)
    return {
        "width": PLOT_WIDTH,
        "height": PLOT_HEIGHT,
        "margin": PLOT_MARGIN,
        "label": label,
        "across": [(across.position(value), f"{value:.3g}") for value in across.ticks()],
        "up": [(up.position(value), f"{value:.1f}") for value in up.ticks()],
        "points": [
            (across.position(cost), up.position(accuracy), trial.number in front, f"trial {trial.number}")
            for (trial, _), cost, accuracy in zip(complete, costs, accuracies, strict=True)
        ],
    }


class _Axis:
    """A linear axis over some values, from one position to another."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low, self._high = min(values), max(values)
        self._high += (self._high == self._low) * max(abs(self._low), 1.0)
        self._start, self._end = start, end

    def position(self, value: float) -> float:
        """Return where a value is."""
        return round(self._start + (value - self._low) / (self._high - self._low) * (self._end - self._start), 1)

    def ticks(self) -> list[float]:
        """Return evenly spaced values."""
        return [self._low + (self._high - self._low) * index / (AXIS_TICKS - 1) for index in range(AXIS_TICKS)]


def _cell(value: Any) -> str:
    """Return a value of a trial as text."""
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
