"""History: csv that spreadsheets read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from feredge.train import history

ROWS = np.array([[1, 0.1, 1.9, 0.2, np.nan, np.nan, 3, 100], [2, 0.05, 1.5, 1 / 3, np.nan, np.nan, 3, 100]])


def test_csv_leaves_what_was_not_measured_empty(tmp_path: Path) -> None:
    """Guards against `nan` in a spreadsheet's number column."""
    history.write_csv(tmp_path / "h.csv", ROWS)
    header, first, second = (tmp_path / "h.csv").read_text().splitlines()
    assert header.split(",") == list(history.COLUMNS)
    assert first == "1,0.1,1.9,0.2,,,3,100"
    assert second.split(",")[3] == "0.333333"
