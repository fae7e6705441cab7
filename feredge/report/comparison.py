"""Comparison of several results as Markdown: two runs, two machines, before and after a change."""

from __future__ import annotations

from collections.abc import Sequence

from feredge.benchmark.formatting import format_median, percent, signed
from feredge.benchmark.results import Results, Row
from feredge.errors import ResultsError
from feredge.report.text import code_span, plain_text


def comparison_to_markdown(all_results: Sequence[Results]) -> str:
    """Return a table of one line per file: the metrics of each result, and the changes against the first.

    Files are matched by name. A difference in accuracy is shown only where both have the same test images.

    Raises:
        ResultsError: fewer than two results, or no file that two of them share.
    """
    names = shared_files(all_results)
    tables = [{row.name: row for row in results.rows} for results in all_results]
    letters = result_letters(all_results)
    headings = [f"{title} {letter}" for letter in letters for title in ("accuracy %", "median ms")]
    changes = [f"{letter} − A pp | {letter} / A time" for letter in letters[1:]]
    lines = [
        "| file | " + " | ".join((*headings, *changes)) + " |",
        "| --- |" + " ---: |" * (len(headings) + 2 * len(changes)),
    ]
    for name in names:
        rows = [table.get(name) for table in tables]
        cells = [cell for row in rows for cell in _cells(row)]
        for results, row in zip(all_results[1:], rows[1:], strict=True):
            gain = accuracy_gain_pp(all_results[0], rows[0], results, row) if rows[0] and row else None
            cells += ["" if gain is None else signed(gain), _latency_ratio(rows[0], row)]
        code = code_span(name).replace("|", "\\|")
        lines.append(f"| {code} | " + " | ".join(cells) + " |")
    lines.append("")
    for letter, results in zip(letters, all_results, strict=True):
        machine, data = results.machine, results.data
        source = (
            f"{letter}: {results.recipe.get('name', 'a run')}, {data.source} (SHA-256 {data.digest[:12]}, "
            f"{data.total:,} test images), {machine.cpu}, {machine.cores} cores, {results.config.name} benchmark, "
            f"{results.measured[:10]}"
        )
        lines.append(f"* {plain_text(source)}")
    return "\n".join(lines) + "\n"


def shared_files(all_results: Sequence[Results]) -> list[str]:
    """Return the names of the files that at least two results share, in their order.

    Raises:
        ResultsError: fewer than two results, or no such file.
    """
    if len(all_results) < 2:
        raise ResultsError(f"a comparison: expected at least two results, found {len(all_results)}")
    tables = [{row.name: row for row in results.rows} for results in all_results]
    names = [name for name in dict.fromkeys(name for table in tables for name in table) if _is_shared(name, tables)]
    if not names:
        raise ResultsError("a comparison: expected files of the same name, found none")
    return names


def result_letters(all_results: Sequence[Results]) -> list[str]:
    """Return A, B, C, ..., one letter for each result."""
    return [chr(ord("A") + index) for index in range(len(all_results))]


def accuracy_gain_pp(first: Results, a: Row, other: Results, b: Row) -> float | None:
    """Return the accuracy of `b` of `other` minus that of `a` of `first`, in pp; None unless on the same images."""
    if not (a.accuracy and b.accuracy and first.same_test_images(a, other, b)):
        return None
    return 100 * (b.accuracy.accuracy - a.accuracy.accuracy)


def _is_shared(name: str, tables: Sequence[dict[str, Row]]) -> bool:
    return sum(name in table for table in tables) > 1


def _cells(row: Row | None) -> tuple[str, str]:
    return (percent(row.accuracy), format_median(row.main_latency)) if row else ("", "")


def _latency_ratio(first: Row | None, row: Row | None) -> str:
    ratio = row.latency_ratio(first) if first and row else None
    return "" if ratio is None else f"{ratio:.2f}"
