"""Comparison of results: files matched by name, accuracy compared on the same test images only."""

from __future__ import annotations

import dataclasses

import pytest

from feredge.benchmark.results import Results
from feredge.errors import ResultsError
from feredge.report import comparison_to_markdown
from feredge.report.comparison_page import comparison_to_html


def test_ratios_against_a_slower_machine(results: Results) -> None:
    """Guards ratios and signs: every latency doubled is 2.00, one file fewer is an empty cell, machines are named."""
    rows = []
    for row in results.rows[:-1]:
        latency = tuple(
            dataclasses.replace(one, inference=dataclasses.replace(one.inference, median=2 * one.inference.median))
            for one in row.latency
        )
        rows.append(dataclasses.replace(row, latency=latency))
    other = dataclasses.replace(
        results, rows=tuple(rows), machine=dataclasses.replace(results.machine, cpu="Another CPU")
    )
    lines = comparison_to_markdown([results, other]).splitlines()
    table = {line.split("|")[1].strip(): line for line in lines if line.startswith("| `")}
    assert len(table) == len(rows)
    assert table["`dense.int8.tflite`"].endswith("| +0.00 | 2.00 |")
    assert table["`dense.int8.onnx`"].replace(" ", "") == "|`dense.int8.onnx`|||||||", "the failed row"
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert "Another CPU" in lines[-1] and "Synthetic CPU" in lines[-2]


def test_other_test_images_have_no_difference_in_accuracy(results: Results) -> None:
    """Guards against comparing accuracies on different test sets: other data, fewer images, other images."""
    other = dataclasses.replace(results, data=dataclasses.replace(results.data, digest="cd" * 32))
    fewer = dataclasses.replace(results, data=dataclasses.replace(results.data, images=(100,) * 7))
    same_counts, other_counts = (
        dataclasses.replace(
            results, rows=tuple(dataclasses.replace(row, test_set_digest=digest) for row in results.rows)
        )
        for digest in ("ab", "cd")
    )
    for pair in ((results, other), (results, fewer), (same_counts, other_counts)):
        (line,) = [line for line in comparison_to_markdown(pair).splitlines() if "`dense.int8.tflite`" in line]
        assert line.endswith("|  | 1.00 |")
        assert "accuracies are not comparable: 24 files" in comparison_to_html(
            pair
        ) and "same accuracy" not in comparison_to_html(pair)


def test_nothing_to_compare_is_an_error(results: Results) -> None:
    """Guards the errors for a single result, and for results without a common file."""
    with pytest.raises(ResultsError, match="at least two results, found 1"):
        comparison_to_markdown([results])
    with pytest.raises(ResultsError, match="files of the same name"):
        comparison_to_markdown([results, dataclasses.replace(results, rows=())])
