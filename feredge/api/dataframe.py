"""Results as tables."""

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
        columns: their order, and the columns of a table without rows; those of the rows if not given.

    Raises:
        FeredgeError: pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise FeredgeError("to_dataframe: expected pandas, found none: pip install pandas") from error
    return pandas.DataFrame(list(rows), columns=None if columns is None else list(columns))
