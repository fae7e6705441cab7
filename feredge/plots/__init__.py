"""Plots and tables of a trained run, from its history, predictions and data set."""

from feredge.plots.drawing import draw

__all__ = ["draw"]
