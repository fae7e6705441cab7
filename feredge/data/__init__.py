"""Data sets: read them, cut them, look at them."""

from feredge.data.dataset import NO_LABEL, Dataset, Splits
from feredge.data.drawn import drawn
from feredge.data.findings import Findings, check
from feredge.data.held_back import hold_back, read_rows
from feredge.data.overview import Info, info, one_of_each, write_one_of_each
from feredge.data.reading import load
from feredge.data.splits import split, stratified_sample, unique_images

__all__ = [
    "NO_LABEL",
    "Dataset",
    "Findings",
    "Info",
    "Splits",
    "check",
    "drawn",
    "hold_back",
    "info",
    "load",
    "one_of_each",
    "read_rows",
    "split",
    "stratified_sample",
    "unique_images",
    "write_one_of_each",
]
