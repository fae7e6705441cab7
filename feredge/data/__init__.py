"""Data sets: read them, cut them, look at them."""

from feredge.data.data_check import Findings, check
from feredge.data.dataset import NO_LABEL, Dataset, Splits
from feredge.data.drawn import drawn
from feredge.data.exclusions import hold_back, read_rows
from feredge.data.reading import load
from feredge.data.selection import fer2013_classes
from feredge.data.splits import split, stratified_sample, unique_images
from feredge.data.summary import Info, info, left_out_line, one_of_each, only_tested_line, write_one_of_each

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
