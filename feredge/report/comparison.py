"""Several results side by side: two runs, two machines, before and after."""

from __future__ import annotations

from collections.abc import Sequence

from feredge.benchmark.formatting import format_median, percent, signed
from feredge.benchmark.results import Results, Row
from feredge.errors import ResultsError
from feredge.report.text import code_span, plain_text


def to_comparison(several: Sequence[Results]) -> str:
    """Return Markdown: a line a file, each result's figures, and what changed against the first result.

    Files are matched by name. A difference in accuracy is shown only where both are judged on the same images.

    Raises:
        ResultsError: fewer than two results, or no file that two of them share.
    """
    names = matched(several)
    tables = [{row.name: row for row in results.rows} for results in several]
    letters = lettered(several)
    heads = [f"{title} {letter}" for letter in letters for title in ("accuracy %", "median ms")]
    changes = [f"{letter} − A pp | {letter} / A time" for letter in letters[1:]]
    lines = [
        "| file | " + " | ".join((*heads, *changes)) + " |",
        "| --- |" + " ---: |" * (len(heads) + 2 * len(changes)),
    ]
    for name in names:
        rows = [table.get(name) for table in tables]
        cells = [cell for row in rows for cell in _cells(row)]
        for results, row in zip(several[1:], rows[1:], strict=True):
            gain = gained(several[0], rows[0], results, row) if rows[0] and row else None
            cells += ["" if gain is None else signed(gain), _slower(rows[0], row)]
        code = code_span(name).replace("|", "\\|")
        lines.append(f"| {code} | " + " | ".join(cells) + " |")
    lines.append("")
    for letter, results in zip(letters, several, strict=True):
        machine, data = results.machine, results.data
        measured = (
            f"{letter}: {results.recipe.get('name', 'a run')}, {data.source} (SHA-256 {data.digest[:12]}, "
            f"{data.total:,} test images), {machine.cpu}, {machine.cores} cores, {results.effort.name} benchmark, "
            f"{results.measured[:10]}"
        )
        lines.append(f"* {plain_text(measured)}")
    return "\n".join(lines) + "\n"


def matched(several: Sequence[Results]) -> list[str]:
    """Return the files that at least two results share, by name, in their order.

    Raises:
        ResultsError: fewer than two results, or no such file.
    """
    if len(several) < 2:
        raise ResultsError(f"a comparison: expected at least two results, found {len(several)}")
    tables = [{row.name: row for row in results.rows} for results in several]
    names = [name for name in dict.fromkeys(name for table in tables for name in table) if _shared(name, tables)]
    if not names:
        raise ResultsError("a comparison: expected files of the same name, found none")
    return names


def lettered(several: Sequence[Results]) -> list[str]:
    """Return A, B, C, ... for so many results."""
    return [chr(ord("A") + index) for index in range(len(several))]


def gained(first: Results, a: Row, other: Results, b: Row) -> float | None:
    """Return the pp of accuracy that `b` of `other` has over `a` of `first`; None unless on the same images."""
    if not (a.accuracy and b.accuracy and first.same_test_images(a, other, b)):
        return None
    return 100 * (b.accuracy.accuracy - a.accuracy.accuracy)


def _shared(name: str, tables: Sequence[dict[str, Row]]) -> bool:
    return sum(name in table for table in tables) > 1


def _cells(row: Row | None) -> tuple[str, str]:
    return (percent(row.accuracy), format_median(row.headline)) if row else ("", "")


def _slower(first: Row | None, row: Row | None) -> str:
    ratio = row.latency_ratio(first) if first and row else None
    return "" if ratio is None else f"{ratio:.2f}"
