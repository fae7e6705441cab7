"""`feredge search`: what it prints of a study, and its errors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from feredge.api.searching import SearchResult
from feredge.cli import main
from feredge.commands.search import print_estimate, print_study
from feredge.search.costs import FileCost, Limits
from feredge.search.estimate import SearchEstimate, expected_epochs
from feredge.search.final_evaluation import FinalEvaluation, Finalist
from feredge.search.results import StudyResults, TrialRecord
from feredge.search.space import SearchSettings


def test_a_study_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards what the user reads at the end: the front with its costs, the finalists, and which is chosen on what."""
    trials = (
        TrialRecord(
            0, "00000", "complete", {}, (FileCost("int8.onnx", 88_000, 1, 1, 0.1234),), accuracy=0.66, starts=3
        ),
        TrialRecord(1, "00001", "misfit", {}, reason="too large"),
    )
    finalists = (
        Finalist(0, "00000", (2, 3), (0.66, 0.68), (0.65, 0.65)),
        Finalist(4, "00004", (2, 3), (0.66, 0.66), (0.60, 0.62), 4.0, 1.5, 6.5),
    )
    results = StudyResults(1, "tiny", "drawn", "0" * 64, Limits(max_kb=100), trials)
    print_study(SearchResult(Path("s"), results, FinalEvaluation("00000", finalists, 100), Path("/s/report.html")))
    assert capsys.readouterr().out.splitlines() == [
        "1 trained to the end, 0 ended early, 1 did not fit, 2 kills survived",
        "trial 0: 66.00% of the validation images, int8.onnx: 88.0 KB, 0.123 ms, trials/00000",
        "finalist trial 0: 67.00% of the validation images, 65.00% of the test images over 2 seeds; chosen on the "
        "validation images",
        "finalist trial 4: 66.00% of the validation images, 61.00% of the test images over 2 seeds; +4.00 [1.50, 6.50] "
        "pp behind",
        "report: /s/report.html",
    ]


def test_an_estimate_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards the arithmetic of an estimate, and one without any candidate that fits."""
    assert expected_epochs(SearchSettings("nano", min_epochs=3), 27) == 3 + 6 / 3 + 18 / 9
    assert expected_epochs(SearchSettings("nano"), 27) == 27
    print_estimate(SearchEstimate(100, 0.5, 4.0, 4.0, 7.0))
    assert "100 trials take about 1.0 hours" in capsys.readouterr().out
    print_estimate(SearchEstimate(100, 0.0, 4.0, 0.0, 7.0))
    assert "nothing to train" in capsys.readouterr().out


def test_an_estimate_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a script that reads it: the fields of the function's result, and nothing else on standard output."""
    estimate = SearchEstimate(100, 0.5, 4.0, 4.0, 7.0)
    monkeypatch.setattr("feredge.estimate_search", lambda *_, **__: estimate, raising=False)
    done = CliRunner().invoke(main, ["search", "residual", "--data", "drawn:70", "--estimate", "--json"])
    assert json.loads(done.stdout) == dataclasses.asdict(estimate)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["residuall", "--trials", "2"], "error: unknown search space 'residuall'; did you mean 'residual'"),
        (["residual"], "error: expected a number of trials or of hours, found neither"),
        (["residual", "--trials", "0"], "error: trials: expected a number above 0, found 0"),
        (["residual", "--trials", "2", "--set", "network.stem={low=9, high=8}"], "found the empty range 9 to 8"),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    """Guards errors against a traceback, and against a study folder that is begun."""
    out = tmp_path / "study"
    result = CliRunner().invoke(main, ["search", *arguments, "--data", "drawn:70", "--out", str(out)])
    assert result.exit_code == 2 and message in result.output and len(result.output.splitlines()) == 1
    assert not out.exists()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards an installation without the extra `search` against the advice for another one."""

    def search(*arguments: object, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'optuna'", name="optuna")

    monkeypatch.setattr("feredge.api.searching.search", search)
    result = CliRunner().invoke(main, ["search", "training", "--trials", "1", "--data", "drawn:70"])
    advice = "error: this command needs optuna: pip install 'feredge[workshop,search]'"
    assert result.exit_code == 2 and result.output.splitlines()[-1] == advice
