"""Results as pandas DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from feredge.errors import FeredgeError

if TYPE_CHECKING:
    import pandas


def to_dataframe(rows: Iterable[Mapping[str, Any]], columns: Iterable[str] | None = None) -> pandas.DataFrame:
    """Return rows as a pandas DataFrame.

    Args:
        rows: each a mapping of column names to values.
        columns: names and order of the columns; those of the rows by default.

    Raises:
        FeredgeError: pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise FeredgeError("to_dataframe: expected pandas, found none: pip install pandas") from error
    return pandas.DataFrame(list(rows), columns=None if columns is None else list(columns))
