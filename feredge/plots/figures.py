"""Figures without a display, in a palette for color-blind readers, written atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from feredge import files

Figure: TypeAlias = Any
Axes: TypeAlias = Any
"""Types of matplotlib, which is imported late."""

# Okabe and Ito's palette without yellow, which has little contrast on white.
SERIES_COLORS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
LINE_STYLES = ("-", "--", ":", "-.")
TRAIN_COLOR, VALIDATION_COLOR = "#D55E00", "#0072B2"
CORRECT_COLOR, WRONG_COLOR = "#0072B2", "#D55E00"


def new_figure(*, width: float, height: float) -> Figure:
    """Return an empty figure; width and height are in inches."""
    from matplotlib import figure as figures  # pyplot would select a display and keep global state
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = figures.Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the suffix. Text is not parsed as math: a class may be called `$5 to $10`."""
    from matplotlib import rc_context
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with files.replacing(path) as temporary, rc_context({"text.parse_math": False}):  # texts created by savefig too
        figure.savefig(temporary)


def style(number: int) -> dict[str, str]:
    """Return color and line style of a series; the first 28 are distinct."""
    cycle, position = divmod(number, len(SERIES_COLORS))
    return {"color": SERIES_COLORS[position], "linestyle": LINE_STYLES[cycle % len(LINE_STYLES)]}
