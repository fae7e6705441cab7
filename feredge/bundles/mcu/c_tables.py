"""Tables of numbers as C source."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from numpy.typing import NDArray

LINE_LENGTH = 118


def c_values(values: Iterable[Any], literal: Callable[[Any], str] = str) -> str:
    """Return values with commas between, in lines of at most LINE_LENGTH characters."""
    text = ", ".join(map(literal, values))
    return textwrap.fill(text, LINE_LENGTH, initial_indent="    ", subsequent_indent="    ")


def c_rows(rows: NDArray[Any], literal: Callable[[Any], str] = str) -> str:
    """Return the initializers of the rows of a table `(N, K)`."""
    return ",\n".join(f"    {{\n{c_values(row, literal)}\n    }}" for row in rows)
