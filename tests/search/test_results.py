"""The results of a study: front, rank correlations, kills."""

from __future__ import annotations

from typing import Any

import pytest

from feredge.search.costs import FileCost, Limits
from feredge.search.page import study_to_html
from feredge.search.results import RESULTS_SCHEMA, StudyResults, TrialRecord


def trial(number: int, accuracy: float | None, size: int, ms: float | None, **values: Any) -> TrialRecord:
    """Return a complete trial, or one in another state."""
    costs = (FileCost("int8.tflite", size, 1000, 1000, ms),)
    return TrialRecord(number, f"{number:05}", values.pop("state", "complete"), {}, costs, accuracy=accuracy, **values)


def results(*trials: TrialRecord) -> StudyResults:
    """Return the results of a study with a limit."""
    return StudyResults(RESULTS_SCHEMA, "tiny", "<data>", "0" * 64, Limits(max_kb=100), trials)


def test_the_front_has_what_nothing_beats() -> None:
    """Guards the front: of equal trials both, of the others those that win in accuracy, size or latency."""
    study = results(
        trial(0, 0.60, 50_000, 0.2),
        trial(1, 0.60, 60_000, 0.3),  # dominated
        trial(2, 0.55, 40_000, 0.3),
        trial(3, 0.58, 90_000, 0.1),
        trial(4, 0.58, 90_000, 0.1),
        trial(5, 0.9, 90_000, 0.1, state="pruned"),
    )
    assert [one.number for one in study.front] == [0, 3, 4, 2] and study.best is study.trials[0]


def test_instructions_stand_for_latency() -> None:
    """Guards studies for a microcontroller, where nothing is timed: front, table and plot are of its instructions."""

    def on_core(number: int, accuracy: float, instructions: float) -> TrialRecord:
        costs = (FileCost("int8.c", 60_000, 40_000, 10**7, None, instructions),)
        return TrialRecord(number, f"{number:05}", "complete", {}, costs, accuracy=accuracy)

    study = results(on_core(0, 0.6, 2e7), on_core(1, 0.5, 1.25e7), on_core(2, 0.5, 3e7))
    assert [one.number for one in study.front] == [0, 1]
    page = study_to_html(study)
    assert "12.50" in page and "million instructions" in page and "latency in ms" not in page


def test_rank_correlations_are_of_the_complete_trials() -> None:
    """Guards the figure that says whether the rungs are to be trusted."""
    accuracies = [0.1, 0.2, 0.3, 0.4, 0.5]
    study = results(*(trial(i, a, 1000, 0.1, rungs={"3": -a, "9": a}) for i, a in enumerate(accuracies)))
    correlations = study.rank_correlations()
    assert list(correlations) == [3, 9] and {count for _, count in correlations.values()} == {5}
    assert [correlation for correlation, _ in correlations.values()] == pytest.approx([-1.0, 1.0])
    constant = results(*(trial(i, 0.5, 1000, 0.1, rungs={"3": 0.1}) for i in range(9)))
    assert constant.rank_correlations() == {} == results(trial(0, 0.5, 1, 0.1)).rank_correlations()


def test_kills_are_starts_without_pauses() -> None:
    """Guards the count of survived kills against trials that were stopped by Ctrl-C."""
    study = results(trial(0, 0.5, 1, 0.1, starts=4, pauses=1), trial(1, 0.5, 1, 0.1, starts=1), trial(2, None, 1, 0.1))
    assert study.kills == 2


def test_the_nearest_misfit_is_named() -> None:
    """Guards the advice where nothing fits."""
    study = results(
        trial(0, None, 150_000, None, state="misfit"),
        trial(1, None, 120_000, None, state="misfit"),
        TrialRecord(2, "00002", "misfit", {}, reason="no network"),
    )
    assert study.nearest_misfit() == "trial 1, int8.tflite: 120.0 KB, over 100"


def test_the_page_escapes_names() -> None:
    """Guards the page against markup in a path."""
    page = study_to_html(results(trial(0, 0.5, 1000, 0.1)))
    assert "&lt;data&gt;" in page and "<data>" not in page
    assert "No such" not in study_to_html(results())
