"""Excluded rows: in neither training nor validation, but in a test split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feredge.data import drawn, exclude_rows, read_row_numbers, split
from feredge.errors import DataError, RunError
from feredge.recipes import load
from feredge.recipes.schema import DataView
from feredge.run import RunFolder


def test_a_text_of_rows(tmp_path: Path) -> None:
    """Remarks, blank lines and repeats are no rows."""
    path = tmp_path / "rows.txt"
    path.write_text("# rows\n\n12\n3  # a remark\n12\n")
    assert read_row_numbers(path) == [3, 12]
    for wrong in ("-1", "9" * 19, "9" * 5000):
        path.write_text(f"3\n{wrong}\n")
        with pytest.raises(DataError, match="line 2: expected a row number"):
            read_row_numbers(path)
    with pytest.raises(DataError, match=r"cannot be read \(No such file or directory\)"):
        read_row_numbers(tmp_path / "none.txt")


@pytest.mark.parametrize("view", [DataView(), DataView(validation_is_test=True), DataView(split="random")])
def test_they_neither_train_nor_choose(view: DataView) -> None:
    """Guards honest figures: a picture of the hidden test set must reach neither the weights nor a choice."""
    dataset = drawn(140)
    all_splits = split(dataset, view)
    excluded = np.concatenate([part.rows[:5] for part in (all_splits.train, all_splits.validation, all_splits.test)])
    splits = split(exclude_rows(dataset, excluded.tolist()), view)
    assert not np.isin(excluded, np.concatenate([splits.train.rows, splits.validation.rows])).any()
    assert np.array_equal(splits.test.rows, all_splits.test.rows)
    assert splits.dropped >= 5


@pytest.mark.parametrize("classes", [(), ("happy", "sad")])
def test_nor_do_their_copies(classes: tuple[str, ...]) -> None:
    """Guards a list that names a picture once: its copies, exact or near, and of a class that is left out, stay too."""
    faces = drawn(280)
    images = faces.images.copy()
    happy = np.flatnonzero((faces.labels == faces.classes.index("happy")) & (faces.usage == "Training"))
    excluded, angry = happy[0], np.flatnonzero(faces.labels == faces.classes.index("angry"))[0]
    images[happy[1]] = images[excluded]
    images[happy[2]] = np.clip(images[excluded].astype(int) + 2, 0, 255)
    images[happy[3]] = images[angry]
    dataset = exclude_rows(replace(faces, images=images), [int(excluded), int(angry)])
    splits = split(dataset, DataView(classes=classes))
    used = np.concatenate([splits.train.rows, splits.validation.rows])
    assert not np.isin(happy[:4], used).any() and np.isin(happy[4:], used).all()
    with_duplicates = split(dataset, DataView(classes=classes, drop_duplicates=False))
    assert np.isin(happy[1:], np.concatenate([with_duplicates.train.rows, with_duplicates.validation.rows])).all()


def test_a_row_that_is_not_there() -> None:
    """Guards against a list for another csv, and a run's list that was edited by hand."""
    with pytest.raises(DataError, match="row 700 to exclude"):
        exclude_rows(drawn(70), [1, 700])
    for wrong in (["a"], [None], [10**30]):
        with pytest.raises(DataError, match="expected numbers of rows to exclude, found"):
            exclude_rows(drawn(70), wrong)  # type: ignore[arg-type]  # refused


def test_a_run_keeps_its_list(tmp_path: Path) -> None:
    """Guards later steps of a run: they exclude the same rows without an option."""
    dataset, recipe = drawn(140), load("nano")
    run = RunFolder.claim(tmp_path / "run", recipe, exclude_rows(dataset, [4, 7]))
    stored_rows = run.load_data("drawn:140").excluded_rows
    assert stored_rows is not None
    assert stored_rows.tolist() == [4, 7]
    RunFolder.claim(run.path, recipe, exclude_rows(dataset, [4, 7]))
    with pytest.raises(RunError, match="other excluded rows"):
        RunFolder.claim(run.path, recipe, dataset)
