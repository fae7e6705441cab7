"""Reports: results as a page, a terminal table, Markdown and csv. Reads results, measures nothing."""

from __future__ import annotations

from feredge.callable_module import make_callable
from feredge.report.comparison import to_comparison
from feredge.report.faces import faces
from feredge.report.page import write_html
from feredge.report.recommend import Choice, choose
from feredge.report.side_by_side import write_comparison
from feredge.report.table import to_csv
from feredge.report.text import to_markdown, to_terminal

__all__ = [
    "Choice",
    "choose",
    "faces",
    "to_comparison",
    "to_csv",
    "to_markdown",
    "to_terminal",
    "write_comparison",
    "write_html",
]

make_callable(__name__, "feredge.api.reporting:report")
