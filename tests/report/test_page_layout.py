"""Every page on phones and screens, light and dark: no horizontal scrolling, readable text."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import chromium
import pytest
from html_checks import ElementBalance, check_contrast

from feredge.benchmark.results import Results
from feredge.report import write_comparison_html


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_width_and_scheme(report: Path, width: int, dark: bool, tmp_path: Path) -> None:
    """Guards phones and dark mode: no horizontal scrolling, a contrast of at least 4.5 to 1 (WCAG AA)."""
    with chromium.open_page(report, width=width, height=844, dark=dark) as page:
        assert page.run("document.documentElement.scrollWidth") == width
        check_contrast(page)
        paper = page.run("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", paper))) < 60) == dark
        small = page.run(
            "[...document.querySelectorAll('body *')].filter(n => n.getClientRects().length && n.innerText && "
            "parseFloat(getComputedStyle(n).fontSize) < 10).map(n => n.tagName + n.className)"
        )
        assert small == []
        assert page.browser_errors == []


@pytest.mark.parametrize("width", [1280, 390])
def test_a_comparison_as_a_page(results: Results, tmp_path: Path, width: int) -> None:
    """Guards `feredge report A.json B.json --html`: a bar per file, ratios, differing machines, no browser errors."""
    rows = []
    for row in results.rows[:-1]:
        latency = tuple(
            dataclasses.replace(one, inference=dataclasses.replace(one.inference, median=2 * one.inference.median))
            for one in row.latency
        )
        rows.append(dataclasses.replace(row, latency=latency))
    machine = dataclasses.replace(results.machine, cpu="<Another> CPU")
    write_comparison_html(
        [results, dataclasses.replace(results, rows=tuple(rows), machine=machine)], tmp_path / "two.html"
    )
    balance = ElementBalance()
    balance.feed((tmp_path / "two.html").read_text(encoding="utf-8"))
    assert balance.open == []
    with chromium.open_page(tmp_path / "two.html", width=width, dark=width == 390) as page:
        text = page.run("document.querySelector('main').innerText")
        assert "B takes 2.00 times A's time in the median" in text
        measured = sum(row.accuracy is not None for row in rows)
        assert f"The same accuracy in both: {measured} files." in text and "<Another> CPU" in text
        assert page.run("document.querySelectorAll('#compare-B tbody tr').length") == len(rows)
        lost = page.run("document.querySelectorAll('#compare-B .track.lost').length")
        assert lost == sum(row.main_latency is not None for row in rows)
        assert page.run("document.querySelector('#machines').innerText").count("differs") == 1
        assert page.run("document.documentElement.scrollWidth") == width
        check_contrast(page)
        assert page.browser_errors == []
