"""Pictures and tables of a trained run, drawn from what it stored: history, predictions, and its data."""

from feredge.callable_module import make_callable
from feredge.plots.drawing import draw

__all__ = ["draw"]

make_callable(__name__, "feredge.api.plotting:plots")
