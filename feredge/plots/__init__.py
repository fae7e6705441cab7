"""Plots and tables of a trained run, from its history, predictions and data set."""

from feredge.callable_module import make_callable
from feredge.plots.drawing import draw

__all__ = ["draw"]

make_callable(__name__, "feredge.api.plotting:plots")
