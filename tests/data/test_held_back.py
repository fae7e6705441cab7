"""Rows held back: they neither train nor choose, and a test keeps them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from feredge.data import drawn, hold_back, read_rows, split
from feredge.errors import DataError, RunError
from feredge.recipe import DataView, load
from feredge.run import RunFolder


def test_a_text_of_rows(tmp_path: Path) -> None:
    """Remarks, blank lines and repeats are no rows."""
    path = tmp_path / "rows.txt"
    path.write_text("# rows\n\n12\n3  # a remark\n12\n")
    assert read_rows(path) == [3, 12]
    path.write_text("3\n-1\n")
    with pytest.raises(DataError, match="line 2: expected a row number"):
        read_rows(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_rows(tmp_path / "none.txt")


@pytest.mark.parametrize("view", [DataView(), DataView(validation_is_test=True), DataView(split="random")])
def test_they_neither_train_nor_choose(view: DataView) -> None:
    """Guards honest figures: a picture of the hidden test set must reach neither the weights nor a choice."""
    dataset = drawn(140)
    whole = split(dataset, view)
    held = np.concatenate([part.rows[:5] for part in (whole.train, whole.validation, whole.test)])
    cut = split(hold_back(dataset, held.tolist()), view)
    assert not np.isin(held, np.concatenate([cut.train.rows, cut.validation.rows])).any()
    assert np.array_equal(cut.test.rows, whole.test.rows)
    assert cut.dropped >= 5


def test_a_row_that_is_not_there() -> None:
    """Guards against a list for another csv."""
    with pytest.raises(DataError, match="row 700 to leave out"):
        hold_back(drawn(70), [1, 700])


def test_a_run_keeps_its_list(tmp_path: Path) -> None:
    """Guards calibration and goings-on of a run: the same rows are left out without being told again."""
    dataset, recipe = drawn(140), load("nano")
    run = RunFolder.claim(tmp_path / "run", recipe, hold_back(dataset, [4, 7]))
    again = run.load_data("drawn:140").held_back
    assert again is not None
    assert again.tolist() == [4, 7]
    RunFolder.claim(run.path, recipe, hold_back(dataset, [4, 7]))
    with pytest.raises(RunError, match="other rows left out"):
        RunFolder.claim(run.path, recipe, dataset)
