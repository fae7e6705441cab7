"""The history as csv."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from feredge.train import history

TWO_EPOCHS = np.array([[1, 0.1, 1.9, 0.2, np.nan, np.nan, 3, 100], [2, 0.05, 1.5, 1 / 3, np.nan, np.nan, 3, 100]])


def test_missing_values_are_empty_fields(tmp_path: Path) -> None:
    """Guards against `nan` in a spreadsheet's number column."""
    history.write_csv(tmp_path / "h.csv", TWO_EPOCHS)
    header, first, second = (tmp_path / "h.csv").read_text().splitlines()
    assert header.split(",") == list(history.HISTORY_COLUMNS)
    assert first == "1,0.1,1.9,0.2,,,3,100"
    assert second.split(",")[3] == "0.333333"
