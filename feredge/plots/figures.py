"""Figures without a display, in a palette for color-blind readers, written atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feredge import files

# Okabe and Ito's palette without yellow, which has little contrast on white.
SERIES_COLORS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
LINE_STYLES = ("-", "--", ":", "-.")
TRAIN_COLOR, VALIDATION_COLOR = "#D55E00", "#0072B2"
CORRECT_COLOR, WRONG_COLOR = "#0072B2", "#D55E00"


def new_figure(*, width: float, height: float) -> Any:
    """Return an empty figure; width and height are in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # pyplot would select a display and keep global state

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path) -> None:
    """Write a figure in the format of the suffix. Text is not parsed as math: a class may be called `$5 to $10`."""
    from matplotlib import rc_context
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with (
        files.replacing(path) as temporary,
        rc_context({"text.parse_math": False}),
    ):  # new texts too
        figure.savefig(temporary)


def style(number: int) -> dict[str, str]:
    """Return color and line style of a series; the first 28 are distinct."""
    cycle, position = divmod(number, len(SERIES_COLORS))
    return {"color": SERIES_COLORS[position], "linestyle": LINE_STYLES[cycle % len(LINE_STYLES)]}
