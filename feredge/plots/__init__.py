"""Pictures and tables of a trained run, drawn from what it stored: history, predictions, and its data."""

from feredge.plots.drawing import draw

__all__ = ["draw"]
