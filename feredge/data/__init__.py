"""Data sets: load, split, check and summarize."""

from feredge.data.data_check import CheckResult, check
from feredge.data.dataset import NO_LABEL, Dataset, Splits
from feredge.data.drawn import drawn
from feredge.data.drawn_shapes import drawn_shapes
from feredge.data.exclusions import exclude_rows, read_row_numbers
from feredge.data.reading import load
from feredge.data.selection import fer2013_classes
from feredge.data.source_pictures import color_note
from feredge.data.splits import split, stratified_sample, unique_test_mask
from feredge.data.summary import (
    Summary,
    ignored_files_line,
    sample_grid,
    summarize,
    untrained_classes_line,
    write_sample_grid,
)

__all__ = [
    "NO_LABEL",
    "CheckResult",
    "Dataset",
    "Splits",
    "Summary",
    "check",
    "color_note",
    "drawn",
    "drawn_shapes",
    "exclude_rows",
    "fer2013_classes",
    "ignored_files_line",
    "load",
    "read_row_numbers",
    "sample_grid",
    "split",
    "stratified_sample",
    "summarize",
    "unique_test_mask",
    "untrained_classes_line",
    "write_sample_grid",
]
