"""`to_dataframe`."""

from __future__ import annotations

import sys

import pytest

import feredge
from feredge.api.dataframe import to_dataframe
from feredge.errors import FeredgeError


def test_without_pandas_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards what is not installed with feredge."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(FeredgeError, match="expected pandas, found none: pip install pandas"):
        to_dataframe([])


def test_counts_and_models() -> None:
    """Guards the columns, and a table of no rows."""
    table = feredge.data_info("drawn:70").to_dataframe()
    assert list(table.columns) == ["split", "class", "images"] and table["images"].sum() == 70
    assert {"name", "file", "size_bytes", "accuracy"} <= set(feredge.models().to_dataframe().columns)
    assert list(to_dataframe([], ("a", "b")).columns) == ["a", "b"]
