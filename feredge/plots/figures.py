"""Figures without a display, in colours that colour-blind people tell apart, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feredge import files

# Okabe and Ito's palette, without its yellow, which is hard to see on white.
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
LINES = ("-", "--", ":", "-.")
TRAIN, VALIDATION = "#D55E00", "#0072B2"
RIGHT, WRONG = "#0072B2", "#D55E00"


def new_figure(*, width: float, height: float) -> Any:
    """Return an empty figure of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot: it would choose a display and keep global state

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path) -> None:
    """Write a figure in the format that the suffix names. A class may be called `$5 to $10`: nothing is a formula."""
    from matplotlib import rc_context
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with files.replacing(path) as temporary, rc_context({"text.parse_math": False}):  # some are made while it is drawn
        figure.savefig(temporary)


def style(number: int) -> dict[str, str]:
    """Return colour and line of the series `number`; no two of the first 28 are alike."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number // len(COLOURS) % len(LINES)]}
