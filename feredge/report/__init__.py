"""Reports: benchmark results as an HTML page, terminal table, Markdown and csv. Reads results, measures nothing."""

from __future__ import annotations

from feredge.callable_module import make_callable
from feredge.report.changed_predictions import changed_prediction_thumbnails
from feredge.report.comparison import comparison_to_markdown
from feredge.report.comparison_page import write_comparison_html
from feredge.report.page import write_html
from feredge.report.recommendation import Recommendation, recommend
from feredge.report.table import to_csv
from feredge.report.text import to_markdown, to_terminal

__all__ = [
    "Recommendation",
    "changed_prediction_thumbnails",
    "comparison_to_markdown",
    "recommend",
    "to_csv",
    "to_markdown",
    "to_terminal",
    "write_comparison_html",
    "write_html",
]

make_callable(__name__, "feredge.api.reporting:report")
