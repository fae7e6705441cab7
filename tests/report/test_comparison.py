"""Results side by side: matched by file, and never compared where the data differ."""

from __future__ import annotations

import dataclasses

import pytest

from feredge.benchmark.results import Results
from feredge.errors import ResultsError
from feredge.report import to_comparison
from feredge.report.side_by_side import to_page


def test_a_result_beside_a_slower_machines(results: Results) -> None:
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
    lines = to_comparison([results, other]).splitlines()
    table = {line.split("|")[1].strip(): line for line in lines if line.startswith("| `")}
    assert len(table) == len(rows)
    assert table["`dense.int8.tflite`"].endswith("| +0.00 | 2.00 |")
    assert table["`dense.int8.onnx`"].replace(" ", "") == "|`dense.int8.onnx`|||||||", "the failed row"
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert "Another CPU" in lines[-1] and "Made-up CPU" in lines[-2]


def test_other_data_have_no_difference_in_accuracy(results: Results) -> None:
    """Guards against calling another test set a gain: of other data, of fewer images, of others in like number."""
    other = dataclasses.replace(results, data=dataclasses.replace(results.data, digest="cd" * 32))
    fewer = dataclasses.replace(results, data=dataclasses.replace(results.data, images=(100,) * 7))
    here, there = (
        dataclasses.replace(results, rows=tuple(dataclasses.replace(row, judged=digest) for row in results.rows))
        for digest in ("ab", "cd")
    )
    for pair in ((results, other), (results, fewer), (here, there)):
        (line,) = [line for line in to_comparison(pair).splitlines() if "`dense.int8.tflite`" in line]
        assert line.endswith("|  | 1.00 |")
        assert "accuracies do not compare: 24 files" in to_page(pair) and "same accuracy" not in to_page(pair)


def test_nothing_to_compare_is_said(results: Results) -> None:
    """Guards the two ways to ask for nothing."""
    with pytest.raises(ResultsError, match="at least two results, found 1"):
        to_comparison([results])
    with pytest.raises(ResultsError, match="files of the same name"):
        to_comparison([results, dataclasses.replace(results, rows=())])
