"""Comparison of several results as an HTML page: changes in latency and accuracy, machines and data."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from feredge import files
from feredge.benchmark.formatting import format_median, percent, signed
from feredge.benchmark.metrics import NOISY_SPREAD
from feredge.benchmark.results import Machine, Results, Row
from feredge.report import sections
from feredge.report.comparison import accuracy_gain_pp, result_letters, shared_files
from feredge.report.recommendation import file_count, recommend
from feredge.report.rendering import asset, render, trusted_html

MIN_AXIS_RATIO = 1.1
"""Smallest extent of the latency ratio axis, in either direction."""
SIMILAR_RATIO = 1.05
"""Latency ratio up to which two files count as equally fast."""
Pair = tuple[str, Row, Row]
"""A file's name, its row in the first result, its row in the other."""


def write_comparison_html(all_results: Sequence[Results], path: Path) -> None:
    """Write the comparison page to `path` atomically.

    Raises:
        ResultsError: fewer than two results, or no file that two of them share.
    """
    files.write_text(path, comparison_to_html(all_results))


def comparison_to_html(all_results: Sequence[Results]) -> str:
    """Return the page: every result is compared with the first."""
    names = shared_files(all_results)
    letters = result_letters(all_results)
    first = all_results[0]
    comparisons = []
    for letter, other in list(zip(letters, all_results, strict=True))[1:]:
        pairs = _pairs(names, first, other)
        chart = _ratio_chart(pairs, first, other, letter)
        warnings = _warnings(pairs, first, other, letter)
        summary = _summary(pairs, first, other, letter)
        comparisons.append({"letter": letter, "summary": summary, "warnings": warnings, **chart})
    subtitles = (
        f"{letter}: {sections.title(results)}, {results.machine.cpu}"
        for letter, results in zip(letters, all_results, strict=True)
    )
    return render(
        "comparison.html",
        title=f"Comparison of {len(all_results)} results",
        subtitle=" · ".join(subtitles),
        style=trusted_html(asset("page.css")),
        script="",
        letters=letters,
        comparisons=comparisons,
        recommendations=list(zip(letters, map(recommend, all_results), strict=True)),
        facts=_machine_and_data(all_results),
    )


def _pairs(names: Sequence[str], first: Results, other: Results) -> list[Pair]:
    before, after = ({row.name: row for row in results.rows} for results in (first, other))
    return [(name, before[name], after[name]) for name in names if name in before and name in after]


def _summary(pairs: Sequence[Pair], first: Results, other: Results, letter: str) -> str:
    """Return the changes in latency and accuracy in a few sentences."""
    ratios = {pair[0]: ratio for pair in pairs if (ratio := pair[2].latency_ratio(pair[1])) is not None}
    sentences = [f"In both: {file_count(len(pairs))}."]
    if ratios:
        median = statistics.median(ratios.values())
        slowest, fastest = max(ratios, key=ratios.__getitem__), min(ratios, key=ratios.__getitem__)
        sentences.append(
            f"{letter} takes {median:.2f} times A's time in the median, from {ratios[fastest]:.2f} ({fastest}) "
            f"to {ratios[slowest]:.2f} ({slowest})."
        )
    gains = [gain for _, a, b in pairs if (gain := accuracy_gain_pp(first, a, other, b)) is not None]
    changed = sum(abs(gain) > 1e-9 for gain in gains)
    if changed:
        largest = max(map(abs, gains))
        sentences.append(f"Accuracy differs in {changed} of {len(gains)} files, by at most {largest:.2f} pp.")
    elif gains:
        sentences.append(f"The same accuracy in both: {file_count(len(gains))}.")
    return " ".join(sentences)


def _warnings(pairs: Sequence[Pair], first: Results, other: Results, letter: str) -> list[str]:
    """Return why the comparison may be invalid, a sentence each."""
    warnings = []
    other_images = sum(not first.same_test_images(a, other, b) for _, a, b in pairs)
    if other_images:
        warnings.append(f"Different test images, so accuracies are not comparable: {file_count(other_images)}.")
    other_contents = sum(a.sha256 != b.sha256 for _, a, b in pairs)
    if other_contents:
        warnings.append(f"Same name, but different contents: {file_count(other_contents)}.")
    if "quick" in (first.config.name, other.config.name):
        warnings.append("At least one of the benchmarks is a quick one.")
    noisy = sum(any(row.main_latency and row.main_latency.noisy for row in pair[1:]) for pair in pairs)
    if noisy:
        warnings.append(
            f"In {noisy} of {len(pairs)} files the rounds of A or {letter} differ by over {NOISY_SPREAD:.0%}."
        )
    return warnings


def _ratio_chart(pairs: Sequence[Pair], first: Results, other: Results, letter: str) -> dict[str, Any]:
    """Return headings and rows of a table with a chart of the latency ratios."""
    # Baselines may be fitted anew, so that their ratios would stretch the axis.
    ratios = [
        ratio for pair in pairs if pair[1].kind != "baseline" and (ratio := pair[2].latency_ratio(pair[1])) is not None
    ]
    axis_ratio = max([MIN_AXIS_RATIO, *ratios, *(1 / ratio for ratio in ratios)]) ** 1.08

    def position(ratio: float) -> float:
        return min(max(50 + 50 * math.log(ratio) / math.log(axis_ratio), 1.0), 99.0)

    def row(pair: Pair) -> dict[str, Any]:
        name, a, b = pair
        ratio = b.latency_ratio(a)
        gain = accuracy_gain_pp(first, a, other, b)
        cells = (format_median(a.main_latency), format_median(b.main_latency), percent(a.accuracy), percent(b.accuracy))
        similar = ratio is None or 1 / SIMILAR_RATIO <= ratio <= SIMILAR_RATIO
        return {
            "name": name,
            "style": "kept" if similar else "lost" if ratio is not None and ratio > 1 else "won",
            "position": None if ratio is None else position(ratio),
            "cells": ("" if ratio is None else f"{ratio:.2f}", *cells, "" if gain is None else signed(gain)),
        }

    headings = (
        *("file", f"← {letter} faster · slower →", f"{letter} / A"),
        *("A ms", f"{letter} ms", "A %", f"{letter} %", "pp"),
    )
    band = position(1 / SIMILAR_RATIO), position(SIMILAR_RATIO)
    return {"headings": headings, "band": band, "rows": [row(pair) for pair in pairs]}


def _machine_and_data(all_results: Sequence[Results]) -> list[tuple[str, list[str]]]:
    """Return the properties of machine and data, each with its value in every result."""
    machines = [results.machine for results in all_results]

    def values(name: str) -> list[str]:
        return [str(getattr(machine, name)) for machine in machines]

    def version(machine: Machine, package: str) -> str:
        return machine.versions.get(package, "not installed")

    def peak(machine: Machine, precision: str) -> str:
        return f"{machine.peaks[precision] / 1e9:,.1f} G/s" if precision in machine.peaks else ""

    packages = list(dict.fromkeys(package for machine in machines for package in machine.versions))
    peaks = list(dict.fromkeys(precision for machine in machines for precision in machine.peaks))
    return [
        ("measured", [results.measured[:16].replace("T", " ") for results in all_results]),
        ("benchmark", [results.config.name for results in all_results]),
        ("data", [f"{results.data.source}, {results.data.digest[:12]}" for results in all_results]),
        ("test images", [f"{results.data.total:,}" for results in all_results]),
        ("CPU", values("cpu")),
        ("architecture", values("architecture")),
        ("cores", values("cores")),
        ("instruction sets", [", ".join(machine.flags) for machine in machines]),
        ("governor", values("governor")),
        ("system", values("system")),
        *((f"peak {precision}", [peak(machine, precision) for machine in machines]) for precision in peaks),
        *((package, [version(machine, package) for machine in machines]) for package in packages),
    ]
