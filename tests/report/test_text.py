"""Terminal table, Markdown and csv: the same values, aligned, and no information by colour alone."""

from __future__ import annotations

import csv
import dataclasses
import io
import re

import pytest

from feredge.benchmark.results import Results
from feredge.report import to_csv, to_markdown, to_terminal


def test_the_terminal_table_is_complete_and_fits_the_width(results: Results) -> None:
    """Guards the width (no line exceeds the terminal's), the failed row's reason, and the recommended file."""
    pytest.importorskip("rich")
    for width in (80, 116):
        text = re.sub(r"\x1b\[[0-9;]*m", "", to_terminal(results, width=width))
        assert max(map(len, text.splitlines())) <= width
        for row in results.rows:
            assert row.name in text
        assert "dense.int8.onnx failed: predict: the worker was ended by SIGSEGV" in text
        assert re.search(r"^Ship \S+\.(onnx|tflite)\.", text, re.MULTILINE)
    assert "[0.00, 0.20]" not in re.sub(r"\x1b\[[0-9;]*m", "", to_terminal(results, width=80))
    assert re.search(r"dense\.float32\.tflite +4\d\d +70\.\d\d +\+0\.08 \[0\.00, 0\.20\] +equivalent", text)
    assert re.search(r"dense\.float16\.tflite.* ~0\.\d{3}", text), "the noisy mark"


def test_markdown_has_a_table_and_its_source(results: Results) -> None:
    """Guards the README's table: one line a row, as many cells as headings, machine and data named below."""
    lines = to_markdown(results).splitlines()
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")]
    assert len(cells) == 2 + len(results.rows) and len(set(cells)) == 1
    rest = "\n".join(lines)
    assert results.machine.cpu in rest and results.data.digest[:12] in rest and "**Ship `" in rest


def test_csv_has_unrounded_numbers(results: Results) -> None:
    """Guards units and keys: bytes, fractions and milliseconds unrounded; a failed row has its reason and no values."""
    rows = list(csv.DictReader(io.StringIO(to_csv(results))))
    assert [row["file"] for row in rows] == [row.name for row in results.rows]
    for line, row in zip(rows, results.rows, strict=True):
        assert line["sha256"] == row.sha256 and float(line["bytes"]) == row.bytes
        if row.accuracy and row.main_latency:
            assert float(line["accuracy"]) == row.accuracy.accuracy
            assert float(line["median_ms"]) == row.main_latency.median
        else:
            assert line["failure"] and line["accuracy"] == line["median_ms"] == ""


def test_rows_with_another_test_set_are_marked(results: Results) -> None:
    """Guards against a network of other classes that is not marked, above a footnote that does not apply to it."""
    *rows, last = results.rows
    odd = dataclasses.replace(last, images=(10, 20, 30), classes=("a", "b", "c"))
    text = to_markdown(dataclasses.replace(results, rows=(*rows, odd)))
    assert "| test images |" in text and "| 60, 3 classes |" in text and "on the same test images" in text
    assert "| test images |" not in to_markdown(results) and f"{results.data.total:,} test images" in to_markdown(
        results
    )
    folder = dataclasses.replace(results, rows=tuple(row for row in results.rows if row.kind == "artifact"))
    assert "* Drop: the accuracy of the same network in float32 minus" in to_markdown(folder)
