"""Whole studies of tiny networks: limits, successive halving, interruption, final evaluation, page."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tiny_space import write_space
from tiny_training import stripes

import feredge
from feredge.api.searching import SearchResult
from feredge.errors import RecipeError, RunError
from feredge.search.final_evaluation import FINAL_SEEDS
from feredge.search.results import NoCandidateError, StudyResults
from feredge.search.study import StudyFolder


@pytest.fixture(scope="module")
def tiny_space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the tiny space."""
    return write_space(tmp_path_factory.mktemp("space") / "tiny.toml")


def run(space: Path, out: Path, **options: Any) -> SearchResult:
    """Search on stripes for networks that only the smaller draws are; without finalists by default."""
    return feredge.search(space, stripes(420), out=out, **{"trials": 3, "max_kb": 9.5, "finalists": 0, **options})


@pytest.fixture(scope="module")
def searched(tiny_space: Path, tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """A study that nothing interrupted, with one finalist."""
    return run(tiny_space, tmp_path_factory.mktemp("study") / "study", finalists=1)


def without_times(results: StudyResults) -> list[Any]:
    """Return the trials without what differs between two studies of the same draws."""
    return [dataclasses.replace(trial, seconds={}, starts=0, pauses=0) for trial in results.trials]


def test_what_does_not_fit_is_not_trained(searched: SearchResult) -> None:
    """Guards the order of a trial: measured first, and trained only within the limits, which its files meet."""
    by_state: dict[str, list[Any]] = {"pruned": []}
    for trial in searched.results.trials:
        by_state.setdefault(trial.state, []).append(trial)
    assert len(by_state["complete"]) + len(by_state["pruned"]) == 3 and by_state["misfit"]
    for trial in searched.results.trials:
        file = trial.file(searched.results.limits)
        assert file is not None and file.ram_bytes > 0 and file.multiply_adds > 0
        assert (file.size_bytes > 9500) == (trial.state == "misfit") == ("over 9.5" in trial.reason)
        history = StudyFolder(searched.path).trial(trial.name).history
        epochs = len(history.read_text().splitlines()) - 1 if history.exists() else 0
        assert epochs == {"complete": 3, "pruned": 0, "misfit": 0}[trial.state]  # pruned at 1, before its checkpoint


def test_trials_see_no_test_image(searched: SearchResult) -> None:
    """Guards the choice of a network against the images that it is tested on; only finalists are evaluated there."""
    folder = StudyFolder(searched.path)
    for trial in searched.results.complete:
        assert folder.trial(trial.name).training_record()["test"] is None
    assert searched.final_evaluation is not None and searched.final_evaluation.test_images == 84
    (finalist,) = searched.final_evaluation.finalists
    assert len(finalist.seeds) == len(finalist.test) == FINAL_SEEDS
    record = folder.finalist(finalist.name, finalist.seeds[0]).training_record()
    assert record["test"]["accuracy"] == finalist.test[0]


def test_only_the_front_keeps_weights(searched: SearchResult) -> None:
    """Guards disks: the weights of the losers are removed, those of the front are not."""
    front = {trial.number for trial in searched.results.front}
    for trial in searched.results.trials:
        run = StudyFolder(searched.path).trial(trial.name)
        assert run.model.exists() == (trial.number in front) and not run.checkpoint.exists()


@pytest.mark.long
def test_an_interrupted_study_ends_the_same(searched: SearchResult, tiny_space: Path, tmp_path: Path) -> None:
    """Guards a study that is stopped in the middle of an epoch, again and again: nothing is lost or trained twice."""
    stopped: set[str] = set()

    def stop_once(task: str, done: float, total: float, note: str = "") -> None:
        trained = sorted(path.parent.name for path in (tmp_path / "study/trials").glob("*/data.json"))
        if "epoch 2/3" in note and trained[-1] not in stopped:
            stopped.add(trained[-1])
            raise KeyboardInterrupt

    for _ in range(10):
        try:
            again = run(tiny_space, tmp_path / "study", progress=stop_once)
        except KeyboardInterrupt:
            continue
        break
    assert stopped and without_times(again.results) == without_times(searched.results)
    assert again.results.kills == 0 and max(trial.starts for trial in again.results.trials) > 1
    assert run(tiny_space, tmp_path / "study").results.trials == again.results.trials  # nothing is done again


@pytest.mark.long
def test_a_killed_worker_loses_nothing(tiny_space: Path, tmp_path: Path) -> None:
    """Guards several worker processes: one that is killed is replaced, and its trial goes on in another."""
    killed: list[int] = []

    def kill_one(task: str, done: float, total: float, note: str = "") -> None:
        begun = sorted(tmp_path.glob("study/trials/*/history.csv"))
        if begun and not killed:
            process = multiprocessing.active_children()[0]
            os.kill(process.pid or 0, signal.SIGKILL)
            killed.append(process.pid or 0)

    results = run(tiny_space, tmp_path / "study", workers=2, trials=2, progress=kill_one).results
    ended = [trial for trial in results.trials if trial.state in ("complete", "pruned")]
    assert killed and len(ended) == 2 and not [trial for trial in results.trials if trial.state == "unfinished"]
    assert results.kills <= 1  # 0 if it was killed between two trials


def test_the_study_is_shown(searched: SearchResult, tmp_path: Path) -> None:
    """Guards page, csv and table: every trial is in each, and what is read again is what was written."""
    study = feredge.study(searched.path)
    assert study.results.trials == searched.results.trials and study.final_evaluation == searched.final_evaluation
    page = study.page.read_text()
    assert "Finalists" in page and page.count("<circle") == len(searched.results.complete)
    lines = StudyFolder(searched.path).csv.read_text().splitlines()
    assert len(lines) == 1 + len(searched.results.trials) and "network.channels[0]" in lines[0]


def test_a_study_of_something_else_is_refused(searched: SearchResult, tiny_space: Path, tmp_path: Path) -> None:
    """Guards a study against trials of another space, other data or other limits."""
    other = write_space(tmp_path / "tiny.toml", training={"epochs": 4, "learning_rate": {"low": 0.01, "high": 0.1}})
    with pytest.raises(RunError, match="a study of the space tiny, found tiny with other values"):
        run(other, searched.path)
    with pytest.raises(RunError, match=r"a study with limits at most 9\.5 KB, found at most 9 KB"):
        run(tiny_space, searched.path, max_kb=9)
    with pytest.raises(RunError, match="a study with data stripes-0, found stripes-1"):
        feredge.search(tiny_space, stripes(420, seed=1), out=searched.path, trials=3, max_kb=9.5)
    with pytest.raises(RunError, match="a study with storage journal, found database; choose another folder"):
        run(tiny_space, searched.path, storage="postgresql+psycopg://nobody@127.0.0.1:1/none")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(RunError, match="expected a study or an empty folder, found other files"):
        run(tiny_space, tmp_path)
    with pytest.raises(RunError, match="expected a study folder, found"):
        feredge.study(tmp_path)


def test_a_limit_that_nothing_meets(tiny_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards an endless search: it ends, and names the candidate that came nearest."""
    monkeypatch.setattr("feredge.search.worker.MAX_MISFITS", 2)
    with pytest.raises(
        NoCandidateError, match=r"at most 1 KB, found none among 2; the nearest is trial \d, int8.*KB, over 1"
    ):
        run(tiny_space, tmp_path / "study", max_kb=1)


@pytest.mark.parametrize("search", [feredge.search, feredge.estimate_search])
def test_a_space_without_valid_recipes(search: Any, tiny_space: Path, tmp_path: Path) -> None:
    """Guards hundreds of candidates that are no recipes, where the values that a space fixes exclude each other."""
    out = {"out": tmp_path / "study"} if search is feredge.search else {}
    with pytest.raises(RecipeError, match=r"tiny: expected a space .*none in 20 draws \(.*warmup_epochs from 0"):
        search(tiny_space, stripes(420), trials=1, overrides=["training.warmup_epochs=9"], **out)
    assert not (tmp_path / "study").exists()


def test_a_search_without_time_begins_a_study(tiny_space: Path, tmp_path: Path) -> None:
    """Guards `--hours`: no trial begins after it, and a study without trials is shown all the same."""
    begun = run(tiny_space, tmp_path / "study", trials=None, hours=1e-9, finalists=None)
    assert begun.results.trials == () and begun.final_evaluation is None and "0" in begun.page.read_text()
    with pytest.raises(feredge.Cancelled):
        run(tiny_space, tmp_path / "study", cancel=lambda: True)
    assert feredge.study(tmp_path / "study").to_dataframe().empty


def test_arguments_are_checked_first(tiny_space: Path, tmp_path: Path) -> None:
    """Guards hours of waiting for an end that is never reached."""
    with pytest.raises(feredge.FeredgeError, match="expected a number of trials or of hours, found neither"):
        run(tiny_space, tmp_path / "study", trials=None)
    with pytest.raises(feredge.FeredgeError, match="max_kb: expected a number above 0, found -1"):
        run(tiny_space, tmp_path / "study", max_kb=-1)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("name", ["study.json", "trials.json", "final-evaluation.json"])
def test_damaged_files_are_one_line(searched: SearchResult, tmp_path: Path, name: str) -> None:
    """Guards reading a study that someone else wrote."""
    for part in ("study.json", "trials.json", "final-evaluation.json"):
        (tmp_path / part).write_bytes((searched.path / part).read_bytes())
    for text in ("", "[]", "{}", json.dumps({**json.loads((tmp_path / name).read_text()), "schema": 99, "seed": "x"})):
        (tmp_path / name).write_text(text)
        with pytest.raises(RunError, match="expected"):
            StudyFolder(tmp_path).settings() if name == "study.json" else feredge.study(tmp_path)
