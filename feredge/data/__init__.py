"""Data sets: read them, cut them, look at them."""

from feredge.data.dataset import NO_LABEL, Dataset, Splits
from feredge.data.drawn import drawn
from feredge.data.findings import Findings, check
from feredge.data.held_back import hold_back, read_rows
from feredge.data.overview import Info, info, left_out_line, one_of_each, only_tested_line, write_one_of_each
from feredge.data.reading import load
from feredge.data.selection import fer2013_classes
from feredge.data.splits import split, stratified_sample, unique_images

__all__ = [
    "NO_LABEL",
    "Dataset",
    "Findings",
    "Info",
    "Splits",
    "check",
    "drawn",
    "fer2013_classes",
    "hold_back",
    "info",
    "left_out_line",
    "load",
    "one_of_each",
    "only_tested_line",
    "read_rows",
    "split",
    "stratified_sample",
    "unique_images",
    "write_one_of_each",
]
