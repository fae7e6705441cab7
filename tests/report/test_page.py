"""The contents of the report page: escaped, self-contained, and complete for every kind of results."""

from __future__ import annotations

import base64
import dataclasses
import re
from pathlib import Path

import chromium
from html_checks import PNG_BYTES, ElementBalance

from feredge.benchmark.metrics import Instructions, SensorReading, ThrottlingState
from feredge.benchmark.results import Results
from feredge.report import to_markdown, write_html
from feredge.report.page import to_html


def test_the_page_is_well_formed_and_self_contained(report: Path) -> None:
    """Guards the single file: balanced elements, no external addresses, both plots inside."""
    text = report.read_text(encoding="utf-8")
    balance = ElementBalance()
    balance.feed(text)
    assert balance.open == []
    addresses = set(re.findall(r"""(?:src|href)=["']([^"']+)""", text)) | set(re.findall(r"url\(([^)]+)\)", text))
    assert {address[:5] for address in addresses} == {"data:", "#tabl"}
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}  # a name, never fetched
    assert text.count(base64.b64encode(PNG_BYTES).decode()) == 2


def test_text_of_the_results_is_escaped(results: Results) -> None:
    """Guards against file names and error texts that contain HTML, or that end the script."""
    evil = "</script><script>alert(1)</script>{{data}}"
    rows = tuple(dataclasses.replace(row, name=f"{evil}{row.name}", failure=evil) for row in results.rows)
    text = to_html(dataclasses.replace(results, rows=rows, recipe={"name": evil}))
    assert text.count("<script") == 2 and text.count("</script>") == 2


def test_the_security_policy_blocks_other_scripts(report: Path) -> None:
    """Guards the content security policy: only the page's own script runs, and nothing is loaded."""
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', report.read_text(encoding="utf-8"))
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;") and policy[1].count("sha256-") == 2
    add = "(() => { const node = document.createElement('script'); node.textContent = 'window.evil = 1';"
    with chromium.open_page(report) as page:
        assert page.browser_errors == []
        assert page.run(f"{add} document.body.append(node); return window.evil === undefined }})()")
        assert any("Content Security Policy" in error for error in page.browser_errors)


def test_control_characters_are_escaped(results: Results, tmp_path: Path) -> None:
    """Guards the page against lone surrogates, which UTF-8 cannot encode, and the script's look-up of such a name."""
    rows = tuple(dataclasses.replace(row, name=f"\x1b[2J\ud800{row.name}") for row in results.rows)
    write_html(dataclasses.replace(results, rows=rows), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "\x1b" not in text and "\\x1b[2J\\ud800" in text
    with chromium.open_page(tmp_path / "page.html") as page:
        assert page.run("document.querySelectorAll('#metrics tr.on').length") == 1
        assert page.browser_errors == []


def test_a_name_with_several_spaces(results: Results, tmp_path: Path) -> None:
    """Guards the script's look-up of names in which a browser collapses spaces."""
    rows = tuple(dataclasses.replace(row, name=f"my  run/{row.name}") for row in results.rows)
    write_html(dataclasses.replace(results, rows=rows), tmp_path / "page.html")
    with chromium.open_page(tmp_path / "page.html", width=1280) as page:
        assert page.run("document.querySelectorAll('#plot-area [data-name]').length") > 0
        assert page.browser_errors == []


def test_caveats_are_above_the_verdict(results: Results) -> None:
    """Guards against a recommendation that is read before what was assumed for it."""
    assumed = dataclasses.replace(results, notes=("net.onnx has no feredge card.",))
    for text, verdict in ((to_html(assumed), "Ship this file"), (to_markdown(assumed), "**Ship")):
        for caveat in ("net.onnx has no feredge card.", "Latencies are noisy"):
            assert 0 < text.index(caveat) < text.index(verdict)


def test_coverage_of_every_file(results: Results) -> None:
    """Guards the section on abstention: a curve and the change of the coverage per file; none for older results."""
    text = to_html(results)
    measured = sum(row.accuracy is not None for row in results.rows)
    assert text.count('<td class="curve"') == measured
    older = tuple(
        dataclasses.replace(row, accuracy=row.accuracy and dataclasses.replace(row.accuracy, risk_coverage=None))
        for row in results.rows
    )
    assert "Coverage and precision" not in to_html(dataclasses.replace(results, rows=older))


def test_a_quick_benchmark_is_marked(results: Results) -> None:
    """Guards the marks of a quick benchmark: badge, warning and method."""
    quick = to_html(dataclasses.replace(results, config=dataclasses.replace(results.config, name="quick")))
    assert quick.count("quick") > to_html(results).count("quick") + 3
    assert "This was a quick run" in quick


def test_a_report_of_failures_only(results: Results, tmp_path: Path) -> None:
    """Guards the page of a run where every file failed: it opens, and says so."""
    rows = tuple(
        dataclasses.replace(row, failure="crashed", accuracy=None, drop=None, latency=(), cold_start=None, memory=None)
        for row in results.rows
    )
    write_html(dataclasses.replace(results, rows=rows), tmp_path / "report.html")
    with chromium.open_page(tmp_path / "report.html") as page:
        assert page.browser_errors == []
        assert "No file recommended" in page.run(
            "document.querySelector('#recommendation').innerText.replace('NO FILE RECOMMENDED', 'No file recommended')"
        )
        assert "No row has both accuracy and latency" in page.run("document.querySelector('#plot-area').innerText")


def test_a_device_without_opencv(results: Results, tmp_path: Path) -> None:
    """Guards the page of a device: no end-to-end latency, a float model without latency, rounds with throttling."""
    hot = SensorReading("ondemand", 85.0, ("throttled",))
    rows = tuple(
        dataclasses.replace(
            row,
            instructions=(Instructions("cortex-a72", 5e6, 0.0),),
            latency=tuple(
                dataclasses.replace(
                    latency, preprocess=None, whole=None, conditions=(ThrottlingState(hot, hot, hot.slowed),)
                )
                for latency in row.latency
                if row.kind != "float"
            ),
        )
        for row in results.rows
    )
    write_html(dataclasses.replace(results, rows=rows), tmp_path / "report.html")
    with chromium.open_page(tmp_path / "report.html") as page:
        page.run("[...document.querySelectorAll('button')].forEach(button => button.click())")
        assert page.browser_errors == []
        text = page.run("document.body.innerText")
        assert "M instr. a72" in text and "CPU throttling (throttled)" in text
