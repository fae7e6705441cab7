"""Sustained load and latency after idling, as the page and the lines below the table show them."""

from __future__ import annotations

import dataclasses

from feredge.benchmark.results import Results
from feredge.report import to_markdown
from feredge.report.load import idle_latency, load_lines, sustained_load


def test_the_page_shows_curve_throttling_and_order(results: Results) -> None:
    """Guards what decides: each file's curve, the minutes with throttling, and a change of the order of the files."""
    html = sustained_load(results)
    assert html.count('<path class="file"') == 3 and html.count('<path class="reference"') == 3
    assert html.count('class="slowed"') == 2 * 7, "two files are throttled in minutes 4 to 10"
    assert html.count("from minute 4: frequency capped") == 2
    assert "48 → 85" in html and "1500 → 682" in html and "+120%" in html
    assert '<p class="caution">The order of the files changes under sustained load' in html


def test_the_parts_of_the_latency_after_idling(results: Results) -> None:
    """Guards the two parts, and the ratio to calls one after another."""
    html = idle_latency(results)
    row = results.rows[1]
    assert row.idle_latency
    assert f"<td>3.0</td><td>+{row.idle_latency.low_clock:.3f}</td><td>+{row.idle_latency.cold_caches:.3f}</td>" in html


def test_lines_below_the_table(results: Results) -> None:
    """Guards the terminal: the minute of throttling, and the order."""
    lines = load_lines(results)
    assert len(lines) == 3 + 1 + 3
    assert lines[1].endswith("(+40%), CPU throttled from minute 4: frequency capped.")
    assert "after idling for 1 s" in lines[-1]
    assert "The order of the files changes" in to_markdown(results)


def test_nothing_where_it_was_not_measured(results: Results) -> None:
    """Guards older results, and one file, which has no order."""
    plain = dataclasses.replace(
        results,
        rows=tuple(dataclasses.replace(row, sustained_load=None, idle_latency=None) for row in results.rows),
    )
    assert sustained_load(plain) == idle_latency(plain) == "" and load_lines(plain) == []
    one = dataclasses.replace(plain, rows=(plain.rows[0], results.rows[1]))
    assert "rder of the files" not in sustained_load(one)
