"""Training end to end: the files of a run folder, resuming after `kill -9`, and errors for bad input."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_training import RECIPE, epochs_of, stripes, with_training

from feredge.data.dataset import Dataset
from feredge.errors import DataError, RunError
from feredge.recipes.schema import DataView
from feredge.run import RunFolder
from feredge.train import load_model, train, training
from feredge.train.networks import build_core

# The child dies by SIGKILL: in the steps of epoch 2, then half way through writing epoch 3's checkpoint.
CHILD_SCRIPT = """
import os, signal, sys
from pathlib import Path
import numpy
from tiny_training import RECIPE, stripes
from feredge.train import train

moment = sys.argv[2]
def die(): os.kill(os.getpid(), signal.SIGKILL)
def progress(task, done, total, note=""):
    if moment == "steps" and done >= 2: die()
if moment == "writing":
    whole = numpy.savez
    def half(file, **arrays):
        if len(arrays["history"]) < 3: return whole(file, **arrays)
        file.write(b"PK half a checkpoint"); file.flush(); die()
    numpy.savez = half
train(RECIPE, stripes(), Path(sys.argv[1]), progress=progress)
"""


def _child(run: Path, moment: str) -> int:
    process = subprocess.run(
        [sys.executable, "-c", CHILD_SCRIPT, str(run), moment],
        cwd=Path(__file__).parents[1] / "shared",
        capture_output=True,
        text=True,
    )
    return process.returncode


def test_a_killed_run_is_resumed_like_an_uninterrupted_one(tmp_path: Path) -> None:
    """Guards `kill -9` at any time: at most one epoch is lost, and the weights are bit-equal.

    The uninterrupted run has a process of its own too: other tests may have given this one's TensorFlow another
    number of threads, and with it another order of sums.
    """
    run, finished = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "finished")
    assert _child(finished.path, "never") == 0
    assert _child(run.path, "steps") == -signal.SIGKILL
    assert len(epochs_of(run)) == 1  # epoch 2 had taken every step, and is the one epoch lost
    assert _child(run.path, "writing") == -signal.SIGKILL
    assert len(epochs_of(run)) == 2
    assert not run.training.exists() and not run.model.exists()
    assert _child(run.path, "never") == 0
    assert run.training_record()["weights"] == finished.training_record()["weights"]
    assert epochs_of(run) == epochs_of(finished)
    assert sorted(path.name for path in run.path.iterdir()) == sorted(path.name for path in finished.path.iterdir())


def test_the_files_of_a_finished_run(finished: RunFolder) -> None:
    """Guards the files that later steps read, and that the tiny network learns its task."""
    result, data = finished.training_record(), finished.data()
    assert result["test"]["images"] == 84 and result["test"]["accuracy"] == result["test"]["correct"] / 84
    assert result["test"]["accuracy"] > 0.8  # chance is 0.14; a broken average or label order falls far below
    assert result["epochs"] == len(epochs_of(finished)) == 4
    assert data["dropped"] == result["dropped"] == 0
    assert sum(data["splits"]["train"].values()) == result["train"]["images"]
    for name in ("curves.png", "confusion.png"):
        assert (finished.path / name).read_bytes().startswith(b"\x89PNG")
    assert not finished.checkpoint.exists()


def test_load_model_gives_the_evaluated_network(finished: RunFolder) -> None:
    """Guards float.keras against training.json: the file must reproduce the figure beside it."""
    test = stripes().take(stripes().usage == "PrivateTest")
    named = load_model(finished).predict(test.images, verbose=0).argmax(axis=1)
    assert int((named == test.labels).sum()) == finished.training_record()["test"]["correct"]


def test_a_finished_run_is_unchanged(finished: RunFolder) -> None:
    """Guards repeated commands: they neither train nor write files."""
    before = finished.training.stat().st_mtime_ns
    calls: list[float] = []
    train(RECIPE, stripes(), finished.path, progress=lambda task, done, total, note="": calls.append(done))
    assert not calls and finished.training.stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["other weights", "cut", "missing"])
def test_load_model_refuses_a_damaged_file(finished: RunFolder, tmp_path: Path, damage: str) -> None:
    """Guards later steps against a float.keras that is not the trained one."""
    run = RunFolder(shutil.copytree(finished.path, tmp_path / "run"))
    if damage == "other weights":
        run.training.write_text(json.dumps({**run.training_record(), "weights": "0" * 64}))
    elif damage == "cut":
        run.model.write_bytes(run.model.read_bytes()[:-2000])
    else:
        run.model.unlink()
    with pytest.raises(RunError, match=r"float\.keras") as caught:
        load_model(run)
    assert "\n" not in str(caught.value)


def test_a_run_that_another_process_finished_is_unchanged(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards two trainings started at once: the second leaves the finished run unchanged."""
    run = RunFolder(tmp_path / "run")
    build = build_core

    def slow(*args: Any, **kwargs: Any) -> Any:
        shutil.copytree(finished.path, run.path)
        return build(*args, **kwargs)

    monkeypatch.setattr(training, "build_core", slow)
    train(RECIPE, stripes(), run.path)
    files = {path.name: path.read_bytes() for path in finished.path.iterdir()}
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == files


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    """Guards against silently starting over: a damaged checkpoint may stand for days of training."""
    run = RunFolder.claim(tmp_path / "run", RECIPE, stripes())
    run.checkpoint.write_bytes(b"PK\x03\x04 something")
    with pytest.raises(RunError, match=r"checkpoint\.npz: expected a checkpoint.*remove it to start over"):
        train(RECIPE, stripes(), run.path)


@pytest.mark.parametrize("batch", [16, 1000])
def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, batch: int) -> None:
    """Guards the last good checkpoint: also where the loss diverges in an epoch's last step."""
    recipe = with_training(RECIPE, learning_rate=1e30, warmup_epochs=0.0, batch_size=batch, precision="float32")
    with pytest.raises(RunError, match=r"expected a finite loss, found none in epoch 1 at rate .*nothing was kept"):
        train(recipe, stripes(), tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["data.json", "recipe.toml"]


def test_no_validation_images(tmp_path: Path) -> None:
    """Guards `holdout = 0` without a validation split: empty fields, null metrics, and plots all the same."""
    dataset = stripes(140)
    dataset = dataclasses.replace(dataset, usage=np.where(dataset.usage == "Training", "train", "test"))
    recipe = dataclasses.replace(with_training(RECIPE, epochs=1), data=DataView(size=16, holdout=0.0))
    run = train(recipe, dataset, tmp_path / "run")
    assert run.training_record()["validation"] is None
    assert epochs_of(run)[0][4:6] == ["", ""]
    assert (run.path / "curves.png").exists()


def test_a_class_without_training_images(tmp_path: Path) -> None:
    """Guards data sets that lack a class: training works, and data.json has the zero."""
    dataset = stripes(140)
    dataset = dataset.take(~((dataset.labels == 1) & (dataset.usage == "Training")))
    run = train(with_training(RECIPE, epochs=1), dataset, tmp_path / "run")
    assert run.data()["splits"]["train"]["disgust"] == 0


@pytest.mark.parametrize("count", [0, 3])
def test_training_needs_two_classes(tmp_path: Path, count: int) -> None:
    """Guards an empty or one-class training split: an error in one line."""
    dataset = stripes(140)
    training = np.flatnonzero((dataset.usage == "Training") & (dataset.labels == 0))[:count]
    dataset = dataset.take(np.concatenate([training, np.flatnonzero(dataset.usage != "Training")]))
    with pytest.raises(DataError, match=f"at least two classes, found {count} images"):
        train(RECIPE, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_training_split_that_is_the_test_split(tmp_path: Path) -> None:
    """Guards train/ copied to test/: the error gives the reason."""
    test = stripes(140)
    test = test.take(test.usage != "Training")
    both = test.take(np.tile(np.arange(len(test)), 2))
    usage = np.repeat(["train", "test"], len(test))
    dataset = dataclasses.replace(both, usage=usage, rows=np.arange(len(both)))
    with pytest.raises(DataError, match=f"found 0 images of 0; {len(test)} were left out as duplicates of test"):
        train(RECIPE, dataset, tmp_path / "run")


def test_images_of_another_size(tmp_path: Path) -> None:
    """Guards the error for another image size; no run folder is made."""
    dataset: Dataset = stripes(size=20)
    with pytest.raises(DataError, match="expected images of 16x16x1, found 20x20x1"):
        train(RECIPE, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_float_model_as_a_runner(finished: RunFolder) -> None:
    """Guards the benchmark's float row: the runner's probabilities and card."""
    from feredge.train.runner import KerasRunner

    runner = KerasRunner(finished.model, threads=None)
    batch = stripes().images[:9]
    probabilities = runner.predict(batch)
    assert probabilities.dtype == np.float32 and probabilities.shape == (9, 7)
    np.testing.assert_array_equal(probabilities, runner.predict(batch))
    # A batch of one uses other kernels than one of nine: the last bits of float32 may differ.
    np.testing.assert_allclose(runner.predict(batch[:1]), probabilities[:1], atol=1e-5)
    assert runner.card.source == {"weights": finished.training_record()["weights"], "data": "stripes-0"}
    assert runner.card.contract.shape == (16, 16, 1) and runner.card.classes == stripes().classes


def test_a_runner_refuses_threads_that_it_cannot_set(finished: RunFolder) -> None:
    """Guards latencies: once TensorFlow has started, its number of threads cannot be set."""
    from feredge.errors import ArtifactError
    from feredge.train.runner import KerasRunner

    with pytest.raises(ArtifactError, match="process of its own"):
        KerasRunner(finished.model, threads=1)
