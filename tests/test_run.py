"""The run folder: claims, locks, and errors for missing steps."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import feredge.recipes as recipes
from feredge import files
from feredge.data.dataset import Dataset
from feredge.data.drawn import drawn
from feredge.errors import RunError
from feredge.run import RunFolder


@pytest.fixture
def dataset() -> Dataset:
    return Dataset(
        images=np.zeros((2, 48, 48, 1), np.uint8),
        labels=np.array([0, 1], np.int8),
        usage=np.array(["train", "test"]),
        rows=np.arange(2),
        classes=("a", "b"),
        digest="d1",
        source="nowhere.csv",
    )


def test_a_run_is_opened_again_by_its_own_recipe(tmp_path: Path, dataset: Dataset) -> None:
    """Guards resuming: what was written reads back as equal, tuples and floats included."""
    nano = recipes.load("nano")
    RunFolder.claim(tmp_path / "r", nano, dataset)
    reopened = RunFolder.claim(tmp_path / "r", nano, dataset)
    assert reopened.recipe() == nano
    assert reopened.data()["digest"] == "d1"


def test_a_run_of_another_recipe_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    """Guards against continuing one training with the settings of another."""
    RunFolder.claim(tmp_path, recipes.load("nano"), dataset)
    with pytest.raises(RunError, match="another recipe"):
        RunFolder.claim(tmp_path, recipes.load("nano", overrides=["training.epochs=7"]), dataset)


def test_a_run_is_exported_by_another_recipe_without_training_again(tmp_path: Path, dataset: Dataset) -> None:
    """Guards hours of training: compression and export may change afterwards; the folder has the newest recipe."""
    RunFolder.claim(tmp_path, recipes.load("nano"), dataset)
    changed = recipes.load("nano", overrides=['compression.variants=["dense"]', 'export.files=["int8.onnx"]'])
    assert RunFolder.claim(tmp_path, changed, dataset).recipe() == changed
    with pytest.raises(RunError, match="other data"):
        RunFolder.claim(tmp_path, recipes.load("nano"), dataclasses.replace(dataset, digest="d2"))
    assert RunFolder(tmp_path).recipe() == changed, "a claim that was refused changes nothing"
    with pytest.raises(RunError, match="another recipe"):
        RunFolder(tmp_path).replace_recipe(recipes.load("nano", overrides=["training.seed=2"]))


def test_a_run_on_other_data_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    """Guards figures against data that changed between two steps."""
    RunFolder.claim(tmp_path, recipes.load("nano"), dataset)
    with pytest.raises(RunError, match="other data"):
        RunFolder.claim(tmp_path, recipes.load("nano"), dataclasses.replace(dataset, digest="d2"))


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path: Path, dataset: Dataset) -> None:
    """Guards a user's own files against `--out ~/documents`."""
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="found other files"):
        RunFolder.claim(tmp_path, recipes.load("nano"), dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_claim_that_was_killed_is_made_again(tmp_path: Path, dataset: Dataset) -> None:
    """Guards a folder that is refused for ever: a kill left data.json alone there. Somebody's own is left alone."""
    nano = recipes.load("nano")
    run = RunFolder.claim(tmp_path / "r", nano, dataset)
    run.recipe_file.unlink()
    assert RunFolder.claim(run.path, nano, dataset).recipe() == nano
    (tmp_path / "own").mkdir()
    for text in ('{"letters": ["dear"]}', "dear"):
        (tmp_path / "own" / "data.json").write_text(text)
        with pytest.raises(RunError, match="found other files"):
            RunFolder.claim(tmp_path / "own", nano, dataset)
        assert (tmp_path / "own" / "data.json").read_text() == text


def test_a_claim_changes_nothing_where_another_works(tmp_path: Path, dataset: Dataset) -> None:
    """Guards the recipe of a process that holds the lock; an unchanged recipe needs no lock."""
    run = RunFolder.claim(tmp_path / "r", recipes.load("nano"), dataset)
    with run.lock():
        RunFolder.claim(run.path, recipes.load("nano"), dataset)
        with pytest.raises(RunError, match="another process is at work there"):
            RunFolder.claim(run.path, recipes.load("nano", overrides=["compression.epochs=1"]), dataset)
    assert run.recipe() == recipes.load("nano")


def test_a_missing_step_is_named(tmp_path: Path, dataset: Dataset) -> None:
    """Guards the order of commands: each error says what to run first."""
    with pytest.raises(RunError, match=r"found no recipe\.toml"):
        RunFolder.open(tmp_path)
    RunFolder.claim(tmp_path, recipes.load("nano"), dataset)
    with pytest.raises(RunError, match="run `feredge train` first"):
        RunFolder.open(tmp_path, trained=True)
    (tmp_path / "training.json").write_text("{}")
    with pytest.raises(RunError, match="run `feredge export"):
        RunFolder.open(tmp_path, trained=True, exported=True)


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"weights": 1}', '{"digest": "d"}', "\xff", "[" * 100_000])
def test_damaged_files_are_one_error(tmp_path: Path, text: str | None) -> None:
    """Guards every step after the training against a stack trace from what it reads first."""
    run = RunFolder(tmp_path)
    for path, read in ((run.training, run.training_record), (run.data_file, run.data)):
        if text is not None:
            path.write_bytes(text.encode("latin-1"))
        with pytest.raises(RunError, match=rf"{path.name}: expected a JSON file of a run"):
            read()


def test_a_run_that_was_passed_on_asks_for_its_data(tmp_path: Path) -> None:
    """Guards runs whose makers took their own folders out of data.json: every step says what it needs."""
    run = RunFolder.claim(tmp_path / "r", recipes.load("nano"), drawn(70))
    files.write_json(run.data_file, {key: value for key, value in run.data().items() if key != "source"})
    with pytest.raises(RunError, match=r"data\.json: expected the source of the data, found none; pass it with --data"):
        run.load_data()
    assert len(run.load_data("drawn:70")) == 70
    with pytest.raises(RunError, match="was started on other data"):
        RunFolder.claim(run.path, recipes.load("nano"), drawn(71))


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path, dataset: Dataset) -> None:
    """Guards checkpoints that two trainings would overwrite in turn; the folder of one that was killed is free."""
    run = RunFolder.claim(tmp_path / "r", recipes.load("nano"), dataset)
    script = f"""
import time, pathlib
from feredge.run import RunFolder
with RunFolder(pathlib.Path({str(run.path)!r})).lock():
    print("in", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"in\n"
        with pytest.raises(RunError, match="another process is at work there"), run.lock():
            pass
        other.kill()
    with run.lock():
        pass
